package packet_test

import (
	"fmt"
	"io"
	"strings"

	"github.com/scampbus/scamp-go/packet"
)

// A service reads a request of three packets and answers it.
func Example() {
	wire := strings.NewReader("HEADER 0 86\r\n" +
		`{"action":"Sample.echo","envelope":"json","request_id":1,"type":"request","version":1}` + "END\r\n" +
		"DATA 0 7\r\n" + `{"a":1}` + "END\r\n" +
		"EOF 0 0\r\nEND\r\n")

	packets := packet.NewReader(wire, packet.Limits{})
	headers := packet.NewHeaderReader(packet.Limits{})
	var reply []byte
	for {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		switch p.Kind {
		case packet.KindHeader:
			var h packet.Header
			if err := headers.Parse(p.Body, &h); err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(h.Type, h.ID, h.Action)
			answer := packet.Header{Type: packet.TypeReply, ID: h.ID}
			reply = packet.Packet{Kind: packet.KindHeader, Body: answer.AppendTo(nil)}.AppendTo(reply)
		case packet.KindData:
			fmt.Printf("%s\n", p.Body)
		case packet.KindEOF:
			reply = packet.Packet{Kind: packet.KindEOF}.AppendTo(reply)
		}
	}
	fmt.Printf("%q\n", reply)

	// Output:
	// request 1 Sample.echo
	// {"a":1}
	// "HEADER 0 31\r\n{\"request_id\":1,\"type\":\"reply\"}END\r\nEOF 0 0\r\nEND\r\n"
}

// A sender that has the body elsewhere writes the line, the body and the
// trailer without bringing them together first.
func ExampleAppendLine() {
	body := []byte(`{"a":1}`)
	fmt.Printf("%q\n", packet.AppendLine(nil, packet.KindData, 4, len(body)))
	fmt.Printf("%q\n", body)
	fmt.Printf("%q\n", packet.Trailer)

	// Output:
	// "DATA 4 7\r\n"
	// "{\"a\":1}"
	// "END\r\n"
}

// What a peer does wrong is an *Error that says what was wanted and which
// counter to raise.
func ExampleError() {
	_, err := packet.NewReader(strings.NewReader("DATA 4\r\n"), packet.Limits{}).Next()
	fmt.Println(err)
	fmt.Println(err.(*packet.Error).Counter)

	// Output:
	// packet: header line "DATA 4\r\n": want TYPE MSGNO SIZE
	// packet_malformed
}

// A reply that says no, from a peer that gives no code.
func ExampleHeader_Failure() {
	var h packet.Header
	headers := packet.NewHeaderReader(packet.Limits{})
	if err := headers.Parse([]byte(`{"request_id":1,"type":"reply","error":"out of stock"}`), &h); err != nil {
		fmt.Println(err)
		return
	}
	code, text, failed := h.Failure()
	fmt.Println(code, text, failed)

	// Output:
	// general out of stock true
}
