//go:build !unix

package scamp

// A notifier tells nobody: there is no systemd here.
type notifier struct{}

func newNotifier(string) notifier { return notifier{} }

func (notifier) say(string) {}
