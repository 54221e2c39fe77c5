package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/scamp"
)

// builtins are the actions that serve --builtin offers, by name.
var builtins = map[string]func(service string) scamp.Handler{
	"echo":  func(string) scamp.Handler { return echo },
	"hello": hello,
	"size":  func(string) scamp.Handler { return size },
	"slow":  func(string) scamp.Handler { return slow },
	"fail":  func(string) scamp.Handler { return fail },
	"abort": func(string) scamp.Handler { return abort },
}

// builtinNames are the keys of builtins in the order of the help.
var builtinNames = []string{"echo", "hello", "size", "slow", "fail", "abort"}

// echo answers with the octets of the request, as they come.
func echo(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	_, err := io.Copy(rep, req.Body)
	return err
}

// hello answers with the name of the service, whatever the request.
func hello(service string) scamp.Handler {
	return func(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
		return rep.SetJSON(map[string]string{"hello": service})
	}
}

const (
	maxSize = 1 << 40 // octets size and slow answer with
	maxSlow = 24 * time.Hour
)

// size answers with so many octets.
func size(_ context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	var in struct {
		Bytes int64 `json:"bytes"`
	}
	if err := readInput(req, &in); err != nil {
		return err
	}
	return fill(rep, in.Bytes)
}

// slow waits, then answers with so many octets.
func slow(ctx context.Context, req *scamp.Request, rep *scamp.ReplyWriter) error {
	var in struct {
		MS    int64 `json:"ms"`
		Bytes int64 `json:"bytes"`
	}
	if err := readInput(req, &in); err != nil {
		return err
	}
	if in.MS < 0 || in.MS > maxSlow.Milliseconds() {
		return &scamp.RemoteError{Code: scamp.CodeBadRequest, Text: fmt.Sprintf("ms %d: want 0 to %d", in.MS, maxSlow.Milliseconds())}
	}
	t := time.NewTimer(time.Duration(in.MS) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return fill(rep, in.Bytes)
}

// fail answers with an error.
func fail(_ context.Context, req *scamp.Request, _ *scamp.ReplyWriter) error {
	var in struct {
		Text string `json:"text"`
	}
	if err := readInput(req, &in); err != nil {
		return err
	}
	if in.Text == "" {
		in.Text = "this action always fails"
	}
	return &scamp.RemoteError{Code: "lab_error", Text: in.Text, Data: json.RawMessage(`{"built_in":true}`)}
}

// abort begins a reply and breaks it off.
func abort(_ context.Context, _ *scamp.Request, rep *scamp.ReplyWriter) error {
	if _, err := io.WriteString(rep, `{"begun":true,`); err != nil {
		return err
	}
	return &scamp.RemoteError{Code: "lab_error", Text: "aborted on purpose"}
}

// readInput reads the JSON body of a request; an empty one leaves v as it is.
func readInput(req *scamp.Request, v any) error {
	body, err := req.Bytes()
	if err != nil || len(body) == 0 {
		return err
	}
	return req.JSON(v)
}

// fill writes n octets of text: the alphabet, again and again.
func fill(w io.Writer, n int64) error {
	if n < 0 || n > maxSize {
		return &scamp.RemoteError{Code: scamp.CodeBadRequest, Text: fmt.Sprintf("bytes %d: want 0 to %d", n, int64(maxSize))}
	}
	for n > 0 {
		part := alphabet[:min(n, int64(len(alphabet)))]
		if _, err := io.WriteString(w, part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// alphabet is a whole number of alphabets, so that pieces of it join.
var alphabet = strings.Repeat("abcdefghijklmnopqrstuvwxyz", 1260) // 32,760 octets
