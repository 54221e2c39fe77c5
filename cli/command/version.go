package command

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// extensions are what we add between peers that know them (PROTOCOL 3.7).
var extensions = []string{"ext.v1", "win", "cancel", "ms"}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go and protocol extensions",
		Long: `Version prints what this binary was built from. A binary built with go install has a
version, one built in a checkout has a commit.

With --json: version, commit, modified, go, platform, announcements (version written),
extensions (header member ext: windows, cancel, deadlines).`,
		Example: "  scamp version --json",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if a.json {
				return a.printJSON(v)
			}
			commit := v.Commit
			if v.Modified {
				commit += ", modified"
			}
			if commit != "" {
				commit = " (" + commit + ")"
			}
			return a.printf("scamp %s%s\n%s %s\nannouncements: version %d\nextensions: %s\n",
				v.Version, commit, v.Go, v.Platform, v.Announcements, joined(v.Extensions))
		},
	}
}

type versionJSON struct {
	Version       string   `json:"version"` // "(devel)" when built in a checkout
	Commit        string   `json:"commit"`  // empty when not known
	Modified      bool     `json:"modified"`
	Go            string   `json:"go"`
	Platform      string   `json:"platform"`
	Announcements int      `json:"announcements"`
	Extensions    []string `json:"extensions"`
}

func readVersion() versionJSON {
	v := versionJSON{
		Version: "(unknown)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Announcements: 3, Extensions: extensions,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
