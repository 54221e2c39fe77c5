package command

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/scampbus/scamp-go/scamp"
)

// callJSON is what call --json prints.
type callJSON struct {
	OK          bool            `json:"ok"`
	Action      string          `json:"action"` // as it was asked for, or as it is announced
	Instance    string          `json:"instance,omitempty"`
	Address     string          `json:"address,omitempty"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	MS          float64         `json:"ms"`
	Envelope    string          `json:"envelope,omitempty"`
	Size        *int            `json:"size,omitempty"`
	Body        json.RawMessage `json:"body,omitempty"`
	Text        *string         `json:"text,omitempty"`
	Base64      *string         `json:"base64,omitempty"`
	Exit        int             `json:"exit,omitempty"`
	Error       *callErrorJSON  `json:"error,omitempty"`
}

type callErrorJSON struct {
	Text   string          `json:"text"`
	Code   string          `json:"code,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
	Ran    string          `json:"ran"`
	Advice string          `json:"advice,omitempty"`
}

// take reads the reply to a request with that envelope.
func (c *callJSON) take(reply *scamp.Reply, envelope string) error {
	body, err := reply.Bytes(0)
	if err != nil {
		return err
	}
	size := len(body)
	c.Size = &size
	if reply.Envelope != envelope {
		c.Envelope = reply.Envelope
	}
	switch {
	case utf8.Valid(body) && json.Valid(body):
		c.Body = body
	case utf8.Valid(body):
		text := string(body)
		c.Text = &text
	default:
		text := base64.StdEncoding.EncodeToString(body)
		c.Base64 = &text
	}
	return nil
}

// fill says how the call went.
func (c *callJSON) fill(way *wayTaken, err error) {
	c.OK = err == nil
	c.MS = float64(time.Since(way.began).Microseconds()) / 1000
	way.mu.Lock()
	c.Instance, c.Address, c.Fingerprint = way.instance, way.address, way.fingerprint
	if way.action != "" {
		c.Action = way.action
	}
	way.mu.Unlock()
	if err == nil {
		return
	}
	c.Exit = ExitCode(err)
	// Nothing is said to have run that was never tried.
	c.Error = &callErrorJSON{Text: err.Error(), Ran: scamp.RanNo.String()}
	var call *scamp.CallError
	if errors.As(err, &call) {
		c.Error.Ran, c.Error.Advice = call.Ran.String(), call.Advice
	} else if c.Size == nil && way.answered() {
		c.Error.Ran = scamp.RanYes.String()
	}
	var remote *scamp.RemoteError
	if errors.As(err, &remote) {
		c.Error.Code, c.Error.Data = remote.Code, remote.Data
		if c.Error.Code == "" {
			c.Error.Code = scamp.CodeGeneral
		}
	}
	var h *hintError
	if errors.As(err, &h) && c.Error.Advice == "" {
		c.Error.Advice = h.hint
	}
}
