package packet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// A Reader cuts a stream of bytes into packets. It is made by NewReader, is not
// safe for concurrent use and needs no closing.
type Reader struct {
	r      io.Reader
	limits Limits

	buf        []byte // idle[:] or a larger buffer from the pools
	start, end int    // buf[start:end] has arrived and is not consumed
	most       int    // the largest end since buf was last given back
	before     int    // the same of the time before that

	// The line of the packet at start, once it has arrived and is legal.
	head   Packet // without its Body
	line   int    // octets of the line, 0 while it is not there
	length int    // octets of the body

	readErr error // what ended the stream; what is buffered comes first
	err     error // what Next returns from now on (invariant 4)

	idle [sizeIdle]byte
}

// NewReader returns a Reader of the packets of r. It reads ahead, so nothing
// else may read from r.
func NewReader(r io.Reader, limits Limits) *Reader {
	pr := &Reader{r: r, limits: limits.WithDefaults()}
	pr.buf = pr.idle[:]
	return pr
}

// Next returns the next packet (PROTOCOL 2.3). Its Body is valid until the next
// call of Next and may be written to until then.
//
// The error is io.EOF when the stream ends between packets, one that wraps
// io.ErrUnexpectedEOF when it ends inside one, an *Error when the peer broke
// the grammar or passed a limit, and otherwise the error of the underlying
// reader. Every error is final.
func (r *Reader) Next() (Packet, error) {
	for !r.Ready() {
		r.fill()
	}
	if r.err != nil || !r.whole() {
		return Packet{}, r.over()
	}
	body := r.start + r.line
	trailer := body + r.length
	if string(r.buf[trailer:trailer+len(Trailer)]) != Trailer {
		return Packet{}, r.badTrailer(r.buf[trailer : trailer+len(Trailer)])
	}
	p := r.head
	p.Body = r.buf[body:trailer:trailer]
	r.start = trailer + len(Trailer)
	r.line = 0
	return p, nil
}

// over gives the buffer back and returns why there are no more packets.
func (r *Reader) over() error {
	if r.err == nil {
		r.err = r.endOfStream()
	}
	r.shrink()
	return r.err
}

func (r *Reader) badTrailer(got []byte) error {
	r.err = &Error{CounterMalformed, fmt.Sprintf("end of %s %d: %q", r.head.Kind, r.head.MsgNo, got), fmt.Sprintf("%q", Trailer)}
	return r.over()
}

// Ready reports whether Next would return, be it a packet or an error, without
// reading from the underlying reader. It leaves the last packet valid.
func (r *Reader) Ready() bool {
	if r.err == nil && r.line == 0 {
		r.scanLine()
	}
	return r.err != nil || r.readErr != nil || r.whole()
}

// whole reports whether all octets of the packet at start have arrived.
func (r *Reader) whole() bool {
	return r.line > 0 && r.end-r.start >= r.line+r.length+len(Trailer)
}

// scanLine looks for the line of the packet at start and judges it when it is
// complete or too long (invariant 2).
func (r *Reader) scanLine() {
	have := r.buf[r.start:r.end]
	if len(have) > r.limits.MaxLine {
		have = have[:r.limits.MaxLine]
	}
	i := bytes.IndexByte(have, '\n')
	if i < 0 {
		if len(have) == r.limits.MaxLine {
			r.err = &Error{CounterMalformed, "header line " + quote(have, maxQuotedLine), fmt.Sprintf("a line feed within %d octets", r.limits.MaxLine)}
		}
		return
	}
	r.head, r.length, r.err = r.parseLine(have[:i+1])
	if r.err == nil {
		r.line = i + 1
	}
}

// parseLine reads a line that ends in its first line feed.
func (r *Reader) parseLine(line []byte) (head Packet, length int, err error) {
	word, rest, ok := bytes.Cut(line, []byte{' '})
	msgno, n := number(rest)
	if !ok || len(word) == 0 || n == 0 || rest[n] != ' ' {
		return head, 0, malformedLine(line)
	}
	rest = rest[n+1:]
	size, n := number(rest)
	if n == 0 || string(rest[n:]) != "\r\n" {
		return head, 0, malformedLine(line)
	}
	head = Packet{Kind: kindOf(word), MsgNo: msgno}
	if head.Kind == 0 {
		return head, 0, &Error{CounterMalformed, "packet type " + quote(word, maxQuotedName), "HEADER, DATA, EOF, TXERR, ACK, PING or PONG"}
	}
	if msgno > math.MaxInt64 {
		return head, 0, &Error{CounterMalformed, "header line " + quote(line, maxQuotedLine), "a message number up to 9223372036854775807"}
	}
	limit, counter := r.limits.MaxPacket, CounterTooBig
	if head.Kind == KindHeader {
		limit, counter = r.limits.MaxHeader, CounterHeaderTooBig
	}
	if size > uint64(limit) {
		return head, 0, &Error{counter, "header line " + quote(line, maxQuotedLine), fmt.Sprintf("a body of at most %d octets", limit)}
	}
	return head, int(size), nil
}

func malformedLine(line []byte) error {
	return &Error{CounterMalformed, "header line " + quote(line, maxQuotedLine), "TYPE MSGNO SIZE"}
}

// maxEmptyReads bounds the reads in a row that bring neither octets nor an
// error.
const maxEmptyReads = 100

// fill reads once. What it learns is in buf, or in readErr when the stream is
// over.
func (r *Reader) fill() {
	r.makeRoom()
	for range maxEmptyReads {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		r.most = max(r.most, r.end)
		r.readErr = err
		if n > 0 || err != nil {
			return
		}
	}
	r.readErr = io.ErrNoProgress
}

// makeRoom prepares buf for a read. The read may wait for long: a buffer that
// holds nothing is given back before, so that an idle connection has only the
// octets inside the Reader. One that is three quarters full of a packet that
// has not arrived as a whole, or of many, is replaced by a larger one. So
// memory grows with what has arrived (invariant 3).
func (r *Reader) makeRoom() {
	if r.start == r.end {
		r.shrink()
		return
	}
	low := len(r.buf) / 4
	if len(r.buf)-r.end >= low {
		return
	}
	held := r.buf[r.start:r.end]
	if len(r.buf)-len(held) >= low || r.fits() {
		copy(r.buf, held)
	} else {
		larger := r.larger()
		copy(larger, held)
		r.recycle()
		r.buf = larger
	}
	r.start, r.end = 0, len(held)
}

// fits reports whether buf is one of the two largest sizes and has room for the
// whole packet at start; then a larger one would bring nothing.
func (r *Reader) fits() bool {
	return len(r.buf) >= sizeLarge && r.line > 0 && r.line+r.length+len(Trailer) <= len(r.buf)
}

// larger returns a larger buffer. What does not fit the idle one is most likely as long
// as what came before it: then the steps between are left out.
func (r *Reader) larger() []byte {
	size := len(r.buf)
	if size == sizeIdle {
		size = max(size, min(r.before, sizeLarge)-1)
	}
	return largerBuffer(size)
}

// shrink drops all that is buffered and gives the buffer back.
func (r *Reader) shrink() {
	r.recycle()
	r.buf = r.idle[:]
	r.start, r.end = 0, 0
	r.before, r.most = r.most, 0
}

func (r *Reader) recycle() {
	if len(r.buf) != sizeIdle {
		recycle(r.buf)
	}
}

// endOfStream returns the error of a stream that ended where it now stands.
func (r *Reader) endOfStream() error {
	have := r.end - r.start
	switch {
	case !errors.Is(r.readErr, io.EOF):
		return r.readErr
	case have == 0:
		return io.EOF
	case r.line == 0:
		return fmt.Errorf("packet: stream ends after %d octets of a header line: %w", have, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("packet: stream ends after %d of %d octets of %s %d: %w",
		have, r.line+r.length+len(Trailer), r.head.Kind, r.head.MsgNo, io.ErrUnexpectedEOF)
}
