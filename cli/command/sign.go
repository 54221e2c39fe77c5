package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

func (a *app) signCommand() *cobra.Command {
	var spec, key, cert string
	cmd := &cobra.Command{
		Use:   "sign --spec FILE --key FILE --cert FILE",
		Short: "Sign a service spec as a record of a discovery cache",
		Long: `Sign signs the announcement in a spec file and prints it as one record of a discovery
cache: an empty line, the line %%% and the record. What it prints is a whole cache file,
and can be appended to one with >>.

The spec is the JSON of an announcement on one line, nine elements in an array, and is
signed octet for octet:

  [3,"sample:AAEC","main",1,5000,"beepish+tls://127.0.0.1:30100",["json"],
   [["Sample",["echo","noauth",1]]],1700000000000]

(here on two lines for reading): version 3, ident, sector, weight, interval in
milliseconds, address, envelopes, classes with their actions, timestamp. A newline at
the end of the file is not part of it. The key is RSA, in PKCS #1 or PKCS #8 PEM, without a
pass phrase. The old spelling works too:
scamp -announcepath=SPEC -keypath=KEY -certpath=CERT.

With --json: ident, fingerprint, record.`,
		Example: `  scamp sign --spec service_spec --key hello.key --cert hello.crt >> discovery
  scamp sign --spec - --key hello.key --cert hello.crt < service_spec`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return a.sign(spec, key, cert) },
	}
	cmd.Flags().StringVar(&spec, "spec", "", "announcement as JSON on one line, a `FILE` or - for stdin")
	cmd.Flags().StringVar(&key, "key", "", "private key, a PEM `FILE`")
	cmd.Flags().StringVar(&cert, "cert", "", "certificate, a PEM `FILE`")
	return cmd
}

func (a *app) sign(spec, key, cert string) error {
	for _, f := range []struct{ flag, file string }{{"--spec", spec}, {"--key", key}, {"--cert", cert}} {
		if f.file == "" {
			return &usageError{"scamp sign", fmt.Errorf("%s is missing: want --spec FILE --key FILE --cert FILE", f.flag)}
		}
	}
	text, err := a.readSpec(spec)
	if err != nil {
		return fmt.Errorf("scamp: service spec: %w", err)
	}
	pair, err := scamp.LoadKeyPair(cert, key)
	if err != nil {
		return err
	}
	if err := pair.CheckPrivate(); err != nil {
		a.log.Warn("the private key is not private", "error", err)
	}
	ann, err := discovery.SignJSON(text, pair.Certificate, pair.Key)
	if err != nil {
		return fmt.Errorf("scamp: service spec %s: %w", clean(spec), err)
	}
	for _, w := range ann.Warnings {
		a.log.Warn("a part of the spec does not count", "part", w.Text)
	}
	if err := pair.Certificate.CheckKey(discovery.Limits{}); err != nil {
		a.log.Warn("peers refuse this key", "error", err)
	}
	if err := ann.Strict(); err != nil {
		a.log.Warn("old readers lose more than this record", "error", err)
	}
	if a.json {
		return a.printJSON(signJSON{ann.Ident, pair.Certificate.Fingerprint, string(ann.Record())})
	}
	return a.printf("\n%%%%%%\n%s", ann.Record())
}

func (a *app) readSpec(spec string) ([]byte, error) {
	if spec == "-" {
		return readAll(a.stdin, "stdin", maxFile)
	}
	return readFile(spec)
}

type signJSON struct {
	Ident       string `json:"ident"`
	Fingerprint string `json:"fingerprint"`
	Record      string `json:"record"`
}
