package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// An app is one run of the command: its surroundings and its global flags.
type app struct {
	// Set by Run, never changed.
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer // a safeWriter
	getenv func(string) string

	// Global flags, set before a command runs.
	configFile string
	json       bool
	timeout    time.Duration
	logLevel   string

	log      *slog.Logger // of the command that runs
	deaf     *sync.Once   // nobody reads our events any more
	warnings *slog.Logger // the same, but it tells of odd configuration lines also where the command logs less
	command  string       // its path; empty until it is known
	noConfig bool         // it wanted a configuration, and there was none
	blamed   bool         // and that is the cause of the error
}

// Main runs the command with the arguments and streams of this process and returns
// its exit code.
func Main() int {
	return Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
}

// Run runs the command with args, which lack the name of the program, and returns its
// exit code. It handles SIGINT and SIGTERM while it runs.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: &safeWriter{w: stderr}, getenv: getenv, deaf: new(sync.Once)}
	args, err := translate(args)
	if err != nil {
		return a.report(err)
	}
	root := a.root()
	if err := noTickets(root, args); err != nil {
		return a.report(err)
	}
	root.SetArgs(args)
	// A reader of stdout or stderr that leaves must not end us in the middle of something:
	// writing fails instead. What we start gets the signal as ever.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	ctx, stop := scamp.UntilSignal(context.Background())
	defer stop()
	return a.report(root.ExecuteContext(ctx))
}

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "scamp",
		Short: "A service bus without a broker, in one binary",
		Long: `scamp is a service bus without a broker.

A service announces, signed with its key, which actions it offers. A caller names an
action, finds an instance, and opens a TLS connection that must show exactly the
announced certificate. The file authorized_services says which certificate may offer
which action.

Data goes to stdout and talk to stderr. With --json every line on stdout is one JSON
object. Exit codes: 0 ok, 1 failure, 2 wrong arguments, 3 action or instance not found,
4 denied, 5 timeout, 6 no connection or another certificate, 7 the action answered with
an error, 8 the discovery cache is missing or stale, 9 a check found something; scamp help
exit-codes says more.

Without --config the configuration is the file named by $SCAMP, $SCAMP_CONFIG or
$GTSOA, else the first that exists of /etc/scamp/scamp.conf, /etc/SCAMP/soa.conf,
/etc/GTSOA/soa.conf and /etc/GTSOA/scamp.conf.`,
		Example: `  scamp demo                                  # see a whole bus at work
  scamp init --dir bus                        # make one of your own
  scamp --config bus/soa.conf provision hello main:hello
  scamp --config bus/soa.conf cache &
  scamp --config bus/soa.conf serve hello &
  scamp --config bus/soa.conf call hello.echo --data '"world"'`,
		Args:          a.unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) (err error) {
			a.command = cmd.CommandPath()
			if a.timeout < 0 {
				return usagef("--timeout %v: want a duration above 0, for example 10s", a.timeout)
			}
			a.log, err = newLogger(a.stderr, cmp.Or(a.logLevel, cmd.Annotations[logLevelOf], "warn"), a.json)
			if err == nil {
				a.warnings, err = newLogger(a.stderr, cmp.Or(a.logLevel, "warn"), a.json)
			}
			return err
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.configFile, "config", "", "configuration `FILE`; default: the one the environment names, else the usual places")
	flags.BoolVar(&a.json, "json", false, "one JSON object a line on stdout, and JSON log lines on stderr")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up, or stop a daemon, after this `TIME`, for example 10s")
	flags.StringVar(&a.logLevel, "log-level", "", "debug, info, warn, error or off; default: info for daemons, error for call, else warn")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(
		a.initCommand(), a.provisionCommand(), a.cacheCommand(), a.serveCommand(), a.callCommand(),
		a.listCommand(), a.showCommand(), a.whyCommand(), a.watchCommand(), a.auditCommand(), a.checkCommand(), a.conformCommand(),
		a.signCommand(), a.ticketCommand(), a.demoCommand(), a.fingerprintCommand(), a.versionCommand(),
		exitCodesTopic(),
	)
	return root
}

// logLevelOf is the annotation of a command that logs more by default.
const logLevelOf = "log level"

// unknownCommand refuses what is no command, and names those that are spelled alike.
func (a *app) unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	err := &usageError{cmd.CommandPath(), fmt.Errorf("unknown command %q", args[0])}
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		return hint(err, "did you mean %s?", strings.Join(like, " or "))
	}
	return err
}

// helpCommand is cobra's, but a topic that is not there is a mistake.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		Long:  "Help prints what a command does, the same as COMMAND --help.",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range root.Commands() {
				if c.IsAvailableCommand() && len(args) == 0 {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return root.Args(root, args)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// flagError makes of a mistake in the flags a usageError, with the flag that may have
// been meant.
func flagError(cmd *cobra.Command, err error) error {
	usage := &usageError{cmd.CommandPath(), err}
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		// What the parser of Go says names its functions.
		bare := fmt.Errorf("invalid argument %q for --%s", clean(value.GetValue()), value.GetFlag().Name)
		switch kind := value.GetFlag().Value.Type(); {
		case kind == "duration":
			usage.err = bare
			return hint(usage, "want a number with its unit, for example 5s or 500ms")
		case strings.HasPrefix(kind, "int"):
			usage.err = bare
			what, text := pflag.UnquoteUsage(value.GetFlag())
			return hint(usage, "want a whole number, --%s %s: %s", value.GetFlag().Name, what, text)
		case kind == "bool":
			usage.err = bare
			return hint(usage, "want --%s alone, or true or false behind =", value.GetFlag().Name)
		}
	}
	if !errors.As(err, &unknown) {
		return usage
	}
	name := unknown.GetSpecifiedName()
	if group := unknown.GetSpecifiedShortnames(); group != "" {
		name = group // -config was taken for -c -o -n …
	}
	name, _, _ = strings.Cut(name, "=")
	best, distance := "", 3
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		d := discovery.Distance(name, f.Name, distance)
		if len(name) > 1 && strings.HasPrefix(f.Name, name) {
			d = min(d, 1)
		}
		if d < distance && !f.Hidden {
			best, distance = f.Name, d
		}
	})
	switch {
	case best != "":
		return hint(usage, "did you mean --%s?", best)
	case name == "version" && !cmd.HasParent():
		return hint(usage, "did you mean scamp version?")
	}
	return usage
}

// args wraps a check of cobra's so that it is a mistake in the arguments, told in the
// words of the command's usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		var words []string // of the usage, up to the flags
		for _, word := range strings.Fields(cmd.Use)[1:] {
			if strings.HasPrefix(word, "-") {
				break
			}
			words = append(words, word)
		}
		want := usageOf(cmd)
		if len(args) < len(words) {
			return &usageError{cmd.CommandPath(), fmt.Errorf("%s is missing: want %s", strings.TrimSuffix(words[len(args)], "..."), want)}
		}
		return &usageError{cmd.CommandPath(), fmt.Errorf("argument %q is too much: want %s", clean(args[len(words)]), want)}
	}
}

// usageOf is how a command is typed: its path, and what it takes.
func usageOf(cmd *cobra.Command) string {
	_, takes, _ := strings.Cut(cmd.Use, " ")
	return strings.TrimSpace(cmd.CommandPath() + " " + takes)
}

// limit bounds ctx by --timeout.
func (a *app) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.timeout)
}

// noConfigText says where a configuration was looked for.
const noConfigText = "there is no configuration: none in $SCAMP, $SCAMP_CONFIG and $GTSOA, no /etc/scamp/scamp.conf, " +
	"/etc/SCAMP/soa.conf, /etc/GTSOA/soa.conf or /etc/GTSOA/scamp.conf; name one with --config FILE, or make one: scamp init --dir DIR"

// config reads the configuration and tells of its odd lines.
func (a *app) config() (*scamp.Config, error) {
	var cfg *scamp.Config
	var err error
	if a.configFile != "" {
		cfg, err = scamp.ReadConfig(a.configFile)
	} else if cfg, err = scamp.FindConfig(a.getenv); err == nil && cfg.File == "" {
		a.noConfig = true
		a.log.Info(noConfigText)
	}
	if err != nil {
		named := a.configFile
		if named == "" {
			named, _ = scamp.LocateConfig(a.getenv)
		}
		inside := filepath.Join(named, "soa.conf")
		if info, serr := os.Stat(named); serr == nil && info.IsDir() && exists(inside) {
			err = hint(err, "did you mean %s?", inside)
		} else if errors.Is(err, os.ErrNotExist) {
			err = hint(err, "name an existing file with --config, or make one with: scamp init --dir DIR")
		}
		return nil, err
	}
	for _, w := range cfg.Warnings {
		a.warnings.Warn("configuration", "line", w.String())
	}
	return cfg, nil
}
