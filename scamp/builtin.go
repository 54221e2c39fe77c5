package scamp

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
)

// addBuiltIns registers the actions that every service has (PROTOCOL 12.3), where the
// service has none of its own by that name and version.
func (s *Service) addBuiltIns() error {
	if s.opts.OmitBuiltIns {
		return nil
	}
	docs, err := s.documentation()
	if err != nil {
		return err
	}
	if discovery.MaySend(s.name, true) {
		if err := s.addBuiltIn(s.name+".queue_depth", s.queueDepth, nil); err != nil {
			return err
		}
	}
	return s.addBuiltIn("_meta.documentation", func(_ context.Context, _ *Request, rep *ReplyWriter) error {
		return rep.SetBytes(docs)
	}, []string{"noauth"})
}

func (s *Service) addBuiltIn(name string, h Handler, flags []string) error {
	// In the service's own envelopes it goes where old readers see it (PROTOCOL 7.4).
	opts := &ActionOptions{Flags: flags}
	if !slices.Contains(s.opts.Envelopes, "json") {
		opts.Envelopes = []string{"json"}
	}
	a, err := s.newAction(name, h, opts)
	if err != nil {
		return err
	}
	a.builtIn = true
	if id := lowerID(a.name, a.version); s.actions[id] == nil {
		s.actions[id] = a
	}
	return nil
}

// queueDepth answers with how many requests the service has in hand, but for the one that
// asks: those whose reply is not written yet (invariant 6), and notifications.
func (s *Service) queueDepth(_ context.Context, _ *Request, rep *ReplyWriter) error {
	return rep.SetJSON(map[string]int{"queue_depth": s.intake.left() - 1})
}

// A documented is what the service tells of an action.
type documented struct {
	Name    string          `json:"name"`
	Version int             `json:"version"`
	Flags   map[string]bool `json:"flags"`
	HTML    string          `json:"html"`
}

// documentation is what the service tells of its actions with the flag public, in the
// order of their names.
func (s *Service) documentation() ([]byte, error) {
	docs := []documented{}
	for _, a := range s.actions {
		if !slices.Contains(a.flags, "public") {
			continue
		}
		d := documented{Name: a.name, Version: a.version, Flags: make(map[string]bool, len(a.flags)), HTML: a.doc}
		for _, f := range a.flags {
			d.Flags[f] = true
		}
		docs = append(docs, d)
	}
	slices.SortFunc(docs, func(a, b documented) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return json.Marshal(map[string]any{"actions": docs})
}
