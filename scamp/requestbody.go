package scamp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// Bytes returns the whole body of a handler's request, waiting for it if need be; where
// Data was nil, what was read from Body before is not in it. The slice is valid until
// the handler returns. A body over the limit (flow.max_body) is an error that answers
// request_too_big when returned.
func (r *Request) Bytes() ([]byte, error) {
	if r.Data == nil && r.values != nil {
		if err := r.open(); err != nil {
			return nil, err
		}
	}
	if r.Data != nil || r.in == nil {
		return r.Data, nil
	}
	if *r.came != nil { // a copy of r has asked
		r.Data = *r.came
		return r.Data, nil
	}
	limit := r.collect.p.limits.MaxBody
	b, err := r.in.Collect(limit, r.collect.take)
	switch {
	case errors.Is(err, mux.ErrHeld):
		return nil, &RemoteError{Code: CodeTransport, Text: "the service holds too many bodies already"}
	case errors.Is(err, mux.ErrTooBig):
		r.collect.p.log.count("body_too_big")
		return nil, &RemoteError{Code: CodeRequestTooBig, Text: fmt.Sprintf("the body is longer than %d octets", limit)}
	case err != nil:
		return nil, bodyError(err)
	}
	r.Data = b
	if b == nil {
		r.Data = []byte{}
	}
	*r.came = r.Data
	return r.Data, nil
}

// open makes the JSON form of the value that passed as it is.
func (r *Request) open() error {
	b, err := r.values.call().json()
	if err != nil {
		return &RemoteError{Code: CodeBadRequest, Text: err.Error()}
	}
	r.Data = b
	return nil
}

// empty makes room for another body, also in the request of a handler, of which nothing
// but what is seen of it is to be sent.
func (r *Request) empty() {
	r.Data, r.Body, r.GetBody = nil, nil, nil
	r.values, r.in, r.collect, r.came, r.guard, r.claims = nil, nil, nil, nil, nil, nil
}

// plain is the request with its value as octets.
func (r *Request) plain() (*Request, error) {
	b, err := r.values.encode()
	if err != nil {
		return nil, err
	}
	p := *r
	p.Data, p.values = b, nil
	return &p, nil
}

// JSON decodes the body of a handler's request into v. An error answers bad_request
// when returned; internal, if v is no pointer or a nil one.
func (r *Request) JSON(v any) error {
	if err := checkTarget(v); err != nil {
		return &RemoteError{Code: CodeInternal, Text: "request body: " + err.Error()}
	}
	b, err := r.Bytes()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return &RemoteError{Code: CodeBadRequest, Text: "request body: " + err.Error()}
	}
	return nil
}

// bodyError is what a handler sees of a request that broke off (PROTOCOL 5.1).
func bodyError(err error) error {
	if isBroken(err) {
		return fmt.Errorf("%w: %w", errBodyBroken, err)
	}
	return err
}

// isBroken says whether a body ended with err because its sender did not finish it.
func isBroken(err error) bool {
	var tx *mux.TXERR
	return errors.As(err, &tx) || errors.Is(err, mux.ErrLost) || errors.Is(err, mux.ErrWindow)
}

// errBodyBroken is answered when a handler gives up because its request did.
var errBodyBroken = &RemoteError{Code: CodeTransport, Text: "request body not received"}

// requestBody is the Body of a handler's request.
type requestBody struct{ in *mux.Inbound }

func (b requestBody) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if err != nil && err != io.EOF {
		err = bodyError(err)
	}
	return n, err
}

func (b requestBody) WriteTo(w io.Writer) (int64, error) {
	n, err := b.in.WriteTo(w)
	if err != nil {
		err = bodyError(err)
	}
	return n, err
}

// own says whether Data is the body that came with a handler's request, which Body reads
// too.
func (r *Request) own() bool {
	if v, ok := r.Body.(*valueBody); ok {
		came, err := (*direct)(v).json()
		return err == nil && alike(r.Data, came)
	}
	return r.came != nil && *r.came != nil && alike(r.Data, *r.came)
}

// alike is bytes.Equal, which looks at no octet of what is the same slice.
func alike(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

// source returns the octets to send at once and the reader for what follows. The
// reader is the caller's to close.
func (r *Request) source() ([]byte, io.Reader, error) {
	switch {
	case r.GetBody != nil:
		body, err := r.GetBody()
		if err != nil {
			return nil, nil, fmt.Errorf("scamp: %w: %w", errRequestBody, err)
		}
		return nil, body, nil
	case r.Body != nil:
		switch b := r.Body.(type) {
		case *valueBody: // at once: the value is its caller's again when the call of the handler is over
			data, err := io.ReadAll(b)
			return data, nil, err
		case requestBody:
			if r.came != nil && *r.came != nil { // Bytes has read it
				return *r.came, nil, nil
			}
		case *bytes.Reader:
			if b.Len() <= smallBody {
				data, err := io.ReadAll(b)
				return data, nil, err
			}
		}
		return nil, r.Body, nil
	}
	return r.Data, nil, nil
}

// errRequestBody says that a request was not sent because its body cannot be read.
var errRequestBody = errors.New("request body")

// repeatable says whether the body can be produced again.
func (r *Request) repeatable() bool { return r.Body == nil }

// closeBody closes the body of a request that was given up before source.
func (r *Request) closeBody() { closeBody(r.Body) }

func closeBody(body io.Reader) {
	if c, ok := body.(io.Closer); ok {
		c.Close()
	}
}

// smallBody is how many octets of a body are taken from a reader at once.
const smallBody = 16 << 10
