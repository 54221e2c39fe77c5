package scamp

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
)

// JSON decodes the body into v and closes it. An empty body leaves v as it is. One that
// is no JSON for v is a *CallError that is ErrBadReply, as it is for CallWith; a v that is no
// pointer, or a nil one, is refused.
func (r *Reply) JSON(v any) error {
	if err := checkTarget(v); err != nil {
		r.close()
		return fmt.Errorf("scamp: reply body: %w", err)
	}
	return r.decode(nil, v)
}

// checkTarget refuses what JSON cannot be decoded into: who sent it is not to be blamed.
func checkTarget(v any) error {
	if p := reflect.ValueOf(v); p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("JSON into %T: want a pointer that is not nil", v)
	}
	return nil
}

// decode is JSON for the reply to req, nil if that is not known. It tells the action of a
// reply that was made by hand.
func (r *Reply) decode(req *Request, v any) error {
	if c, ok := r.Body.(*collected); ok {
		b, _ := c.bytes(0)
		return c.what.decoded(b, v)
	}
	if s := r.body.use(); s != nil {
		b, err := s.bytes(0)
		if err != nil {
			r.body.leave(false)
			return err
		}
		err = s.what.decoded(b, v)
		r.body.leave(true)
		return err
	}
	b, err := r.Bytes(0)
	if err != nil {
		return err
	}
	if err := unmarshal(b, v); err != nil {
		ce := &CallError{Instance: r.Instance, Attempts: 1, Ran: RanYes, Err: err}
		if req != nil {
			ce.Action = req.name()
		}
		return ce
	}
	return nil
}

// decoded reads the JSON of a reply.
func (a *attempt) decoded(b []byte, v any) error {
	if err := unmarshal(b, v); err != nil {
		return a.failure(err, RanYes)
	}
	return nil
}

func unmarshal(b []byte, v any) error {
	if len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: body: %w", ErrBadReply, err)
	}
	return nil
}

// A collected is the Body of a reply that was taken as a whole before anybody asked for it.
type collected struct {
	rest []byte
	what attempt // whose reply it is
}

func (c *collected) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *collected) Close() error {
	c.rest = nil
	return nil
}

// bytes is Reply.Bytes.
func (c *collected) bytes(limit int) ([]byte, error) {
	b := c.rest
	c.rest = nil
	if limit > 0 && len(b) > limit {
		return nil, c.what.failure(&tooLong{limit, false}, RanYes)
	}
	return b, nil
}

// A tooLong says that a body is longer than its limit.
type tooLong struct {
	limit int  // octets
	ours  bool // it is flow.max_body, and not what the caller gave
}

func (e *tooLong) Error() string { return fmt.Sprintf("reply body: longer than %d octets", e.limit) }

// collect takes the body as a whole, for Bytes to return, after so many attempts.
func (r *Reply) collect(attempts int) error {
	s := r.body.use()
	if s == nil {
		return nil // it is at its end
	}
	c := &collected{what: s.what}
	c.what.number = attempts
	b, err := s.bytes(0)
	r.body.leave(err == nil)
	if err == nil {
		c.rest, r.Body = b, c
	}
	return err
}
