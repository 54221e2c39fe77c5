package scamp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
	"github.com/scampbus/scamp-go/scamp/internal/refusal"
)

// A Caller calls actions: a Bus, a Client, what With returns, or the Caller of
// scamptest. Safe for concurrent use.
type Caller interface {
	// Call sends one request and returns when the reply's header is there. The
	// reply's Body must be read to its end or closed. Every error is a *CallError
	// except those of a request that could not be sent by anybody.
	Call(ctx context.Context, req *Request) (*Reply, error)
}

var (
	_ Caller = (*Bus)(nil)
	_ Caller = (*Client)(nil)
)

// A Request is what a caller sends and what a handler gets (PROTOCOL 3.2).
//
// A caller sets Action and one of Data, Body and GetBody, or none for an empty
// body; more than one is an error. It must not change the request until Call has returned,
// nor what Data points to until Call has failed or the Reply's body was read to its end or
// closed: a service may begin its reply while the request is still being sent.
//
// A handler's request is valid until the handler returns. The handler may pass it on as it
// is: what is left of its Body is sent, and all of it when Bytes has read that. With Data or GetBody of the handler's own, Body must
// be nil, and with GetBody Data too.
type Request struct {
	Action   string // "[sector:]Class.name[~version]"; a handler sees the announced name alone
	Sector   string // empty means the sector in Action, then the configured default, then "main"; another than that in Action is an error
	Envelope string // name of the body's format; empty means "json"
	Version  int    // zero means the version in Action, then 1; another than that in Action is an error

	Ticket           Ticket // of the user on whose behalf, else that of WithTicket; sent only to authorized instances
	IdentifyingToken Ticket // of the real user when Ticket is another's
	Terminal         Ticket // station token, which shows itself as little as a ticket and goes to nobody else
	ClientID         int64  // tenant, when no ticket names one
	Extra            Extra  // further members of the header

	// A caller gives the body as octets, as a reader, or as a function that makes a
	// reader. Only Data and GetBody can be sent again to another instance. A Body
	// that is an io.Closer is closed when it was sent or given up: that may be while
	// another goroutine reads it, and should end that Read. A Read that panics fails the call.
	//
	// A handler reads Body; Data is the whole body if it was there when the handler
	// began, and nil otherwise. Bytes and JSON serve both. When the handler has returned
	// the octets of Data are those of other requests: keep a copy, not the slice.
	Data    []byte
	Body    io.Reader
	GetBody func() (io.Reader, error)

	// These are for the Call of a Bus, and Route for its Stream too, which sends once. A
	// Client has one instance and sends once: it looks at none of them.
	Route      *RouteOptions // nil means any instance
	Retry      *RetryOptions // how often and when; nil means once, and twice if Idempotent
	Idempotent bool          // may run more than once: sent again also when it may have run, unless Ident or Body rule that out
	whole      bool          // the caller takes the reply as a whole: an attempt ends with that

	// Set for handlers only.
	Caller *discovery.Certificate // the client certificate the caller showed; nil if it is anonymous
	Remote net.Addr               // where the request came from; of the network "local" if that is this process

	values  values // of a typed call within the process; at a handler's they pass as they are
	in      *mux.Inbound
	collect *collector
	came    *[]byte       // the body of a handler's request, when it is there as a whole
	guard   *ticketGuard  // of the connection
	claims  *TicketClaims // of a ticket that let the request in; nil if none was asked for
}

// RouteOptions narrow the choice of an instance.
type RouteOptions struct {
	Ident    string                     // only the instance with this ident, or fingerprint#ident; the request is sent once, whatever Retry and Idempotent say
	Filter   func(discovery.Route) bool // only instances it says true of; nil means all. It must not wait
	Balancer Balancer                   // chooses among them; nil means that of the bus
	// Wait is how long to wait, within the time of the call, for an instance to appear
	// when nobody offers the action. Zero means for as long as the bus may not have
	// heard of one that is there: 5.5 s from when it began to listen, and not at all
	// while a cache file tells it of everybody. Negative means not at all.
	Wait time.Duration
}

// encode makes the body of a request for an action.
func encode(action string, in any) ([]byte, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("scamp: call %s: request body: %w", clean(action), err)
	}
	return b, nil
}

// check refuses a request that no service could take, before anything is sent.
func (r *Request) check() error {
	size := len(r.Ticket) + len(r.IdentifyingToken) + len(r.Terminal) + len(r.Envelope) + len(r.Action)
	if len(r.Extra) > 0 { // to range over nothing takes time too
		for name, v := range r.Extra {
			size += len(name) + len(v) + 4
		}
	}
	if size > maxHeaderText {
		return fmt.Errorf("scamp: call %s: header: ticket, tokens and extra members take %d octets, want at most %d", clean(r.Action), size, maxHeaderText)
	}
	if len(r.Extra) > 0 {
		if err := packet.CheckExtra(r.Extra); err != nil {
			return fmt.Errorf("scamp: call %s: %w", clean(r.Action), err)
		}
	}
	if r.GetBody != nil && (r.Data != nil || r.Body != nil) || r.Data != nil && r.Body != nil && !r.own() {
		hint := ""
		if r.guard != nil { // of a handler, which did not set all of them
			hint = "; in a handler's request want Body nil beside a Data of your own, and both nil beside a GetBody"
		}
		return fmt.Errorf("scamp: call %s: more than one of Data, Body and GetBody is set: want one of them, or none for an empty body%s", clean(r.Action), hint)
	}
	if r.ClientID < 0 {
		return fmt.Errorf("scamp: call %s: client id %d: want 0 or more", clean(r.Action), r.ClientID)
	}
	if err := r.Retry.check(); err != nil {
		return fmt.Errorf("scamp: call %s: %w", clean(r.Action), err)
	}
	return nil
}

// checked returns the action of a request that passes check.
func (r *Request) checked() (discovery.Query, error) {
	if err := r.check(); err != nil {
		return discovery.Query{}, err
	}
	return r.query()
}

// A fake caller refuses the same.
var _ = refusal.Lend(func(request any) (discovery.Query, error) { return request.(*Request).checked() })

// query reads the name of the action; what it leaves open the request's own fields say.
func (r *Request) query() (discovery.Query, error) {
	q, err := discovery.ParseAction(r.Action)
	if err != nil {
		return q, fmt.Errorf("scamp: call: %w", err)
	}
	if err := agree(q, r.Sector, r.Version); err != nil {
		return q, fmt.Errorf("scamp: call %s: %w", clean(r.Action), err)
	}
	def(&q.Sector, r.Sector)
	def(&q.Version, r.Version)
	return q, nil
}

// name is the action as tools write it, as far as the request says it.
func (r *Request) name() string {
	q, err := r.query()
	if err != nil {
		return r.Action
	}
	return q.String()
}

// agree refuses a sector or version beside an action whose text names another: nobody knows
// which of them was meant.
func agree(q discovery.Query, sector string, version int) error {
	switch {
	case q.Sector != "" && sector != "" && !strings.EqualFold(q.Sector, sector):
		return fmt.Errorf("sector %q beside it: want one of the two", clean(sector))
	case q.Version != 0 && version != 0 && q.Version != version:
		return fmt.Errorf("version %d beside it: want one of the two", version)
	}
	return nil
}

// maxHeaderText leaves room in a header of 32768 octets for escapes and the rest.
const maxHeaderText = 15 << 10

// A Reply is the answer to a call. Body must be read to its end or closed: closing
// early tells the service to stop and frees the slot. Bytes and JSON do both. It must
// not be copied.
type Reply struct {
	Envelope string        // as the service sent it; json if it sent none
	Extra    Extra         // members of the header that have no field here
	Instance string        // ident of the instance that answered; its address for a Client
	Body     io.ReadCloser // nil, in one made by hand, is an empty one

	body callBody
}

// Bytes returns the rest of the body and closes it. A body of more than limit octets
// is an error; zero means flow.max_body, and less is refused.
func (r *Reply) Bytes(limit int) ([]byte, error) {
	if limit < 0 {
		r.close()
		return nil, fmt.Errorf("scamp: reply body: limit %d: want 0 for flow.max_body, or more", limit)
	}
	if c, ok := r.Body.(*collected); ok {
		return c.bytes(limit)
	}
	if s := r.body.use(); s != nil {
		b, err := s.bytes(limit)
		r.body.leave(err == nil)
		return b, err
	}
	if r.Body == nil {
		return nil, nil
	}
	defer r.Body.Close()
	if limit == 0 {
		limit = 16 << 20
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, max(int64(limit), int64(limit)+1)))
	if err == nil && len(b) > limit {
		return nil, fmt.Errorf("scamp: reply body: longer than %d octets", limit)
	}
	return b, err
}

// close gives up what is left of the body.
func (r *Reply) close() {
	if r.Body != nil {
		r.Body.Close()
	}
}

// header fills h for the instance at route, whose name and version of the action count.
func (r *Request) header(h *packet.Header, route discovery.Route) {
	h.Type = packet.TypeRequest
	h.Action, h.Version, h.Sector = route.Action, route.Version, route.Sector
	h.Envelope = r.Envelope
	if h.Envelope == "" {
		h.Envelope = "json"
	}
	h.ClientID, h.Extra = r.ClientID, r.Extra
	if route.Rule { // a stranger may offer _meta actions: no ticket or token for it (PROTOCOL 18)
		h.Ticket, h.IdentifyingToken, h.Terminal = string(r.Ticket), string(r.IdentifyingToken), string(r.Terminal)
	}
}
