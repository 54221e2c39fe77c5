package ledger_test

import (
	"fmt"
	"time"

	"github.com/scampbus/scamp-go/scamp/internal/ledger"
)

// Example notes two calls at both ends. The second was sent again by its caller, though
// nobody knew whether it had run.
func Example() {
	client, service := ledger.New("client", nil), ledger.New("service", nil)
	request, reply := ledger.SumOf([]byte("how many?")), ledger.SumOf([]byte("3"))
	for i, id := range []string{"call-1", "call-2"} {
		nonce := ledger.Nonce{byte(i)} // of random octets, in a test
		client.Issue(id, nonce, request, false, time.Time{})
		for range i + 1 {
			service.Run(id)
			service.Served(id, request, true, reply)
		}
		client.End(id, ledger.End{Outcome: ledger.OK, Nonce: nonce, Reply: reply})
	}
	fmt.Print(ledger.Check(append(client.Records(), service.Records()...), 1))
	// Output:
	// rule 2: call "call-2": ended ok, and ran 2 times: want once
	// 2 issued = 2 ok + 0 error + 0 not run + 0 maybe; 0 cancelled, 3 runs
}
