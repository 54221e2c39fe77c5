package command

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/discovery"
)

// maxFile bounds the small files a person names: certificates, specs, tickets.
const maxFile = 1 << 20 // octets

func (a *app) fingerprintCommand() *cobra.Command {
	var sha1, sha256 bool
	cmd := &cobra.Command{
		Use:   "fingerprint CERT...",
		Short: "Print the fingerprints of certificates",
		Long: `Fingerprint prints how authorized_services names a certificate: its SHA-1 as hex pairs,
and its SHA-256 in the longer form that old programs do not read. Each line is a
fingerprint, a tab and the file; with --sha1 or --sha256 that fingerprint alone.

With --json: file, sha1, sha256, subject, bits, not_before, not_after.`,
		Example: `  scamp fingerprint services/hello.crt
  scamp fingerprint --sha1 services/hello.crt`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, files []string) error {
			if sha1 && sha256 {
				return usagef("--sha1 and --sha256: want one of them, or neither for both")
			}
			for _, file := range files {
				cert, err := readCertificate(file)
				if err != nil {
					return err
				}
				switch {
				case a.json:
					err = a.printJSON(fingerprintJSON{
						File: file, SHA1: cert.Fingerprint, SHA256: cert.SHA256Text(), Subject: cert.Subject(),
						Bits: cert.Bits(), NotBefore: cert.NotBefore().UTC().Format(timeForm), NotAfter: cert.NotAfter().UTC().Format(timeForm),
					})
				case sha1:
					err = a.printf("%s\n", cert.Fingerprint)
				case sha256:
					err = a.printf("%s\n", cert.SHA256Text())
				default:
					err = a.printf("%s\t%s\n%s\t%[2]s\n", cert.Fingerprint, clean(file), cert.SHA256Text())
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&sha1, "sha1", false, "print the SHA-1 alone")
	cmd.Flags().BoolVar(&sha256, "sha256", false, "print the SHA-256 alone")
	return cmd
}

// timeForm is how dates are written: RFC 3339 in UTC.
const timeForm = "2006-01-02T15:04:05Z"

type fingerprintJSON struct {
	File      string `json:"file"`
	SHA1      string `json:"sha1"`
	SHA256    string `json:"sha256"`
	Subject   string `json:"subject"`
	Bits      int    `json:"bits"` // of the RSA key; 0 for another kind
	NotBefore string `json:"not_before"`
	NotAfter  string `json:"not_after"`
}

// readCertificate reads the first certificate of a PEM file.
func readCertificate(file string) (*discovery.Certificate, error) {
	text, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("scamp: certificate: %w", err)
	}
	cert, err := discovery.ParseCertificatePEM(text)
	if err != nil {
		return nil, fmt.Errorf("scamp: certificate %s: %w", file, err)
	}
	return cert, nil
}

// readFile reads a small file, or what a command of the shell writes: for <(COMMAND) the
// shell passes a pipe as /dev/fd/N, and whoever keeps a ticket elsewhere needs no file.
func readFile(path string) ([]byte, error) {
	if strings.HasPrefix(path, "/dev/fd/") {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAll(f, path, maxFile)
	}
	text, _, err := discovery.ReadFile(path, maxFile)
	return text, err
}

// readAll reads everything, if it is not too long.
func readAll(r io.Reader, name string, most int) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > most {
		return nil, fmt.Errorf("%s: longer than %d octets", name, most)
	}
	return text, nil
}
