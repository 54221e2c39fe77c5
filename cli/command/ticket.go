package command

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/scamp"
)

func (a *app) ticketCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ticket",
		Short: "Verify and make tickets by hand",
		Long: `A ticket names a user, a client and privileges, and is signed by whoever issues tickets.
Services verify it with the public key that auth.ticket_verify_key names.

A ticket is as good as a password for as long as it holds: these commands read it from a
file or stdin, never from an argument, and no log ever shows it.`,
		Example: `  scamp ticket keygen --key ticket.key --public ticket.pub
  scamp ticket mint --key ticket.key --user 42 --client 100 --privilege 1,2 --out t
  scamp ticket verify --public ticket.pub t
  scamp call Customer.Order.list --ticket-file t`,
		Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.ticketVerifyCommand(), a.ticketMintCommand(), a.ticketKeygenCommand())
	return cmd
}

func (a *app) ticketVerifyCommand() *cobra.Command {
	var public, at string
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Say what a ticket says and whether it holds",
		Long: `Verify reads a ticket from FILE, or from stdin without FILE or for -, and says who it is for,
what it grants and until when. The exit code is 4 when it does not hold, and the error
says why.

The key is --public FILE, else auth.ticket_verify_key of the configuration, else
ticket_verify_public_key.pem in the usual places. The file may hold several keys, for the
time in which a new one takes the place of an old one.

With --json: user, client, privileges (null when the ticket has no list), starts, ends.`,
		Example: `  scamp ticket verify --public ticket.pub t
  scamp ticket verify --at 2026-12-24T00:00:00Z < t`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, files []string) error {
			now := time.Now()
			if at != "" {
				var err error
				if now, err = parseMoment(at); err != nil {
					return usagef("--at %q: %v", at, err)
				}
			}
			cfg := new(scamp.Config)
			if public == "" || a.configFile != "" { // else nothing of it matters
				var err error
				if cfg, err = a.config(); err != nil {
					return err
				}
			}
			if public == "" {
				public = cfg.TicketKeyPath()
			}
			if public == "" {
				return usagef("no key to verify with: want --public FILE, or auth.ticket_verify_key in the configuration")
			}
			limits := cfg.Limits
			keys, err := scamp.LoadTicketKeys(public, &limits)
			if err != nil {
				return err
			}
			ticket, err := a.readTicket(files)
			if err != nil {
				return err
			}
			claims, err := keys.Verify(ticket, now, &limits)
			if err != nil {
				return err
			}
			return a.tellTicket(claims)
		},
	}
	cmd.Flags().StringVar(&public, "public", "", "verify with the public key in this `FILE`")
	cmd.Flags().StringVar(&at, "at", "", "judge as of this `TIME`: RFC 3339 or UNIX seconds; default now")
	return cmd
}

// readTicket reads a ticket from the file a person named, or from stdin.
func (a *app) readTicket(files []string) (scamp.Ticket, error) {
	var text []byte
	var err error
	if len(files) == 0 || files[0] == "-" {
		text, err = readAll(a.stdin, "stdin", maxFile)
	} else {
		text, err = readFile(files[0])
	}
	if err != nil {
		return "", fmt.Errorf("scamp: ticket: %w", err)
	}
	return scamp.Ticket(text), nil
}

// ticketForm is what an argument looks like that is a ticket itself (PROTOCOL 10): a user's by
// its first five fields, and anything with a letter behind them, for a list of numbers is
// none; a station's, whose fields nobody knows all, by three of them and a signature.
var ticketForm = regexp.MustCompile(`(?:^|[=@\s"'])(?:1,-?\d+,-?\d+,\d+,\d+,.*[A-Za-z]|2,\d+,\d+,(?:.*,)?[A-Za-z0-9+/=_-]{40})`)

// noTickets refuses arguments that are tickets before anything reads them, so that no error
// can show one: everybody on the host saw them already.
func noTickets(root *cobra.Command, args []string) error {
	for i, arg := range args {
		if !ticketForm.MatchString(arg) {
			continue
		}
		path := root.Name()
		if cmd, _, err := root.Find(args[:i]); err == nil {
			path = cmd.CommandPath()
		}
		return hint(&usageError{path, fmt.Errorf("argument %d looks like a ticket itself: want a FILE", i+1)},
			"arguments can be seen by everybody on this host: keep a ticket in a file that nobody else can read, or pass it on stdin where - is taken")
	}
	return nil
}

// parseMoment reads a time as people write it.
func parseMoment(text string) (time.Time, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, errors.New("want RFC 3339, for example 2026-12-24T00:00:00Z, or UNIX seconds")
	}
	return t, nil
}

type ticketJSON struct {
	User       int64   `json:"user"`
	Client     int64   `json:"client"`
	Privileges []int64 `json:"privileges"`
	Starts     string  `json:"starts"`
	Ends       string  `json:"ends"`
}

// ticketObject is what a ticket says: with a list of privileges unless it has none.
func ticketObject(c *scamp.TicketClaims) ticketJSON {
	privileges := c.Privileges
	if privileges == nil && !c.Short {
		privileges = []int64{}
	}
	return ticketJSON{c.User, c.Client, privileges, c.Starts().UTC().Format(timeForm), c.Ends().UTC().Format(timeForm)}
}

func (a *app) tellTicket(c *scamp.TicketClaims) error {
	starts, ends := c.Starts().UTC().Format(timeForm), c.Ends().UTC().Format(timeForm)
	if a.json {
		return a.printJSON(ticketObject(c))
	}
	list := "no list: it says who it is, not what it may"
	if !c.Short {
		list = "none"
	}
	if len(c.Privileges) > 0 {
		words := make([]string, len(c.Privileges))
		for i, p := range c.Privileges {
			words[i] = strconv.FormatInt(p, 10)
		}
		list = joined(words)
	}
	return a.printf("user\t%d\nclient\t%d\nprivileges\t%s\nstarts\t%s\nends\t%s\n", c.User, c.Client, list, starts, ends)
}

func (a *app) ticketMintCommand() *cobra.Command {
	var key, start, out string
	var claims scamp.TicketClaims
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "mint --key FILE --user N --client N",
		Short: "Make a ticket",
		Long: `Mint makes a ticket, signed by the private key in --key FILE. It goes to --out FILE, a new file that
nobody else can read, or to stdout. It holds from now, or --start TIME, for --for TIME.

Without --privilege it grants none; with --short it has no list of privileges at all, as
tickets have that only say who somebody is.

With --json: ticket, or file with --out, and what verify says of it.`,
		Example: `  scamp ticket mint --key ticket.key --user 42 --client 100 --privilege 1,2 --for 8h --out t`,
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"key", "user", "client"} {
				if !cmd.Flags().Changed(name) {
					return usagef("--%s is missing: want %s", name, usageOf(cmd))
				}
			}
			if length < time.Second || length%time.Second != 0 {
				return usagef("--for %v: want whole seconds, at least one", length)
			}
			from := time.Now()
			if start != "" {
				var err error
				if from, err = parseMoment(start); err != nil {
					return usagef("--start %q: %v", start, err)
				}
			}
			claims.Start, claims.Length = from.Unix(), int64(length/time.Second)
			signer, err := scamp.LoadTicketSigner(key)
			if err != nil {
				return err
			}
			ticket, err := claims.Sign(signer)
			if err != nil {
				return &usageError{"scamp ticket mint", err}
			}
			if length > 24*time.Hour {
				a.log.Warn("a ticket cannot be taken back before it ends: want --for at most 24h", "for", length)
			}
			if out != "" {
				if err := writeNew(out, []byte(string(ticket)+"\n"), 0o600); err != nil {
					return fmt.Errorf("scamp: ticket mint: %w", err)
				}
			} else if openToOthers(a.stdout) {
				a.log.Warn("others can read the file that the ticket goes to: want --out FILE instead of > FILE")
			}
			if a.json {
				shown, file := string(ticket), ""
				if out != "" {
					shown, file = "", absolute(out)
				}
				return a.printJSON(struct {
					Ticket string `json:"ticket,omitempty"`
					File   string `json:"file,omitempty"`
					ticketJSON
				}{shown, file, ticketObject(&claims)})
			}
			if out != "" {
				return a.printf("made\t%s\n", clean(absolute(out)))
			}
			return a.printf("%s\n", string(ticket))
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "sign with the private key in this `FILE`")
	f.Int64Var(&claims.User, "user", 0, "id of the user `N`")
	f.Int64Var(&claims.Client, "client", 0, "id of the client `N`, the user's tenant")
	f.Int64SliceVar(&claims.Privileges, "privilege", nil, "ids of privileges `N,...` that it grants")
	f.BoolVar(&claims.Short, "short", false, "leave the list of privileges out: a ticket of authentication alone")
	f.StringVar(&out, "out", "", "write the ticket to this `FILE`, which must be new")
	f.StringVar(&start, "start", "", "it holds from this `TIME` on: RFC 3339 or UNIX seconds; default now")
	f.DurationVar(&length, "for", time.Hour, "it holds for this `TIME`, for example 8h")
	return cmd
}

// openToOthers reports whether a stream is a file that others than its owner can read.
func openToOthers(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok || runtime.GOOS == "windows" { // where the bits mean nothing
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o044 != 0
}

func (a *app) ticketKeygenCommand() *cobra.Command {
	var key, public string
	var bits int
	cmd := &cobra.Command{
		Use:   "keygen --key FILE --public FILE",
		Short: "Make the key that tickets are signed with",
		Long: `Keygen makes an RSA key. The private half goes to --key FILE with mode 0600: whoever has it
can be anybody. The public half goes to --public FILE; name it in auth.ticket_verify_key of
every service. Files that exist are not touched.

To replace a key, append the new public half to the file that services read, wait until they
have (a second), sign with the new key, and take the old half out when the last old ticket
has ended.

With --json: key, public, bits.`,
		Example: `  scamp ticket keygen --key ticket.key --public ticket.pub`,
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case key == "" || public == "":
				return usagef("want both --key FILE and --public FILE")
			case bits < 2048 || bits > 8192:
				return usagef("--bits %d: want 2048 to 8192", bits)
			}
			if err := makeTicketKey(key, public, bits); err != nil {
				return fmt.Errorf("scamp: ticket keygen: %w", err)
			}
			if a.json {
				return a.printJSON(struct {
					Key    string `json:"key"`
					Public string `json:"public"`
					Bits   int    `json:"bits"`
				}{absolute(key), absolute(public), bits})
			}
			err := a.printf("made\t%s\nmade\t%s\n", clean(absolute(key)), clean(absolute(public)))
			if err == nil {
				a.say("next: auth.ticket_verify_key = %s in the configuration of services", clean(absolute(public)))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "write the private key to this `FILE`")
	f.StringVar(&public, "public", "", "write the public key to this `FILE`")
	f.IntVar(&bits, "bits", 2048, "size of the key")
	return cmd
}

// makeTicketKey writes both files, or none.
func makeTicketKey(keyFile, publicFile string, bits int) error {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	for _, file := range []string{keyFile, publicFile} {
		if _, err := makeDir(filepath.Dir(file)); err != nil {
			return err
		}
	}
	if err := writeNew(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		return err
	}
	if err := writeNew(publicFile, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644); err != nil {
		os.Remove(keyFile) // nobody has used it yet
		return err
	}
	return nil
}
