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
