package command

import (
	"bytes"
	"context"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"
)

// completeFromCache offers names of the bus to the shell: what a cache file holds, and
// nothing when there is none, since a person who presses tab does not wait 6 seconds.
func (a *app) completeFromCache(names func(*catalog) []string) ([]string, cobra.ShellCompDirective) {
	quiet := *a
	quiet.log, quiet.stderr = slog.New(slog.DiscardHandler), new(bytes.Buffer)
	quiet.warnings = quiet.log
	cfg, err := quiet.config()
	if err != nil || !exists(cachePath(cfg)) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := (&source{cache: cachePath(cfg)}).open(context.Background(), &quiet)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all := names(c)
	for i := range all {
		all[i] = clean(all[i])
	}
	slices.Sort(all)
	return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
}
