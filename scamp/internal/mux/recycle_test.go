package mux_test

import (
	"testing"
	"testing/synctest"

	"github.com/scampbus/scamp-go/packet"
	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestRecycledMessageIsNotHandedUpAgain has messages whose packets are mixed arrive at
// once, and gives each up as soon as it was handed up: from then on it is another one's.
func TestRecycledMessageIsNotHandedUpAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var handed []uint64
		_, w := talk(t, mux.Options{Accept: func(m *mux.Inbound) {
			if m.Header.Type == packet.TypeNone || m.Conn() == nil {
				t.Error("a message that was given up before was handed up")
				return
			}
			id, _ := m.Header.ID.Number()
			handed = append(handed, id)
			m.Recycle()
		}})
		w.send(mixedRequests)
		synctest.Wait()
		if len(handed) != 2 {
			t.Errorf("%q: handed up %v, want each of 2 messages once", mixedRequests, handed)
		}
	})
}

const mixedRequests = "HEADER 0 86\r\n" + `{"action":"Sample.echo","envelope":"json","request_id":3,"type":"request","version":1}` + "END\r\n" +
	"HEADER 1 86\r\n" + `{"action":"Sample.echo","envelope":"json","request_id":4,"type":"request","version":1}` + "END\r\n" +
	"EOF 0 0\r\nEND\r\n" +
	"EOF 1 0\r\nEND\r\n"

// TestNoHeaderStays: a message that waited for its turn has no header any more once that
// was made. A ticket in it would stay for as long as its body does.
func TestNoHeaderStays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, w := mute(t, mux.Options{Limits: mux.Limits{MaxWriteQueue: 1 << 10}})
		send(t, e, reply(), mux.Body{Data: octets(2000)}) // fills the queue
		synctest.Wait()
		h := request()
		h.Ticket = "1,42,100,1700000000,3600,1+2,AbC-_"
		o := send(t, e, h, mux.Body{More: true})
		if o.Started() || !mux.HeaderKept(o) {
			t.Fatalf("a message behind a full queue: started %t, header kept %t; want it to wait", o.Started(), mux.HeaderKept(o))
		}
		w.listen()
		synctest.Wait()
		if !o.Started() || mux.HeaderKept(o) {
			t.Errorf("a message that was sent: started %t, header kept %t; want it started without", o.Started(), mux.HeaderKept(o))
		}
		o.CloseSend()
	})
}
