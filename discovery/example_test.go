package discovery_test

import (
	"fmt"
	"strings"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/fixtures"
)

// What one datagram says, once its signature is known to be good.
func ExampleParse() {
	a, err := discovery.Parse(fixtures.Bytes("announce/v3_ms.packet.z"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := a.Verify(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.ServiceName(), "at", a.HostPort())
	for _, action := range a.Actions {
		fmt.Printf("  %s:%s~%d %s\n", action.Sector, action.FullName(), action.Version, strings.Join(action.Flags, ","))
	}
	// Output:
	// sample at 10.0.0.5:30123
	//   main:Sample.echo~1 noauth
	//   main:Sample.slow~1 t600
	//   main:Sample.Item.create~1 create
	//   main:Sample.Item.list~1 noauth,read
	//   main:Sample.Item.list~2 read
}

// An announcement made, signed and compressed for a datagram.
func ExampleAnnouncement_Sign() {
	a := discovery.Announcement{
		Ident:       "sample:AAECAwQFBgcICQoLDA0ODxAR", // discovery.NewIdent("sample") at every start
		Weight:      1,
		Address:     "beepish+tls://10.0.0.5:30123",
		Envelopes:   []string{"json"},
		Actions:     []discovery.Action{{Class: "Sample", Name: "echo", Flags: []string{"noauth"}}},
		Timestamp:   1700000000123_000, // now, in microseconds
		Certificate: mustCertificate("sample"),
	}
	packet, err := a.Sign(mustKey("sample"))
	if err != nil {
		fmt.Println(err)
		return
	}
	datagram := discovery.Compress(packet)
	fmt.Printf("%s\nfits one frame: %v\n", a.JSON(), len(datagram) <= 1472)
	// Output:
	// [3,"sample:AAECAwQFBgcICQoLDA0ODxAR","main",1,5000,"beepish+tls://10.0.0.5:30123",["json"],[["Sample",["echo","noauth",1]]],1700000000123]
	// fits one frame: true
}

// Who may offer what, and what to write when somebody may not.
func ExampleAuthorized_Decide() {
	rules, err := discovery.ParseAuthorized(strings.NewReader(
		"41:A2:0E:D5:19:8E:AF:A1:E1:7F:80:FC:4C:3E:9B:02:17:EE:86:4A web:Page, Sample.Item # the sample service\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	service := mustCertificate("sample")
	fmt.Println(rules.Decide(service, "main", "sample.item.list"))
	fmt.Println(rules.Decide(service, "main", "Sample.echo"))
	// Output:
	// 41:A2:0E:D5:19:8E:AF:A1:E1:7F:80:FC:4C:3E:9B:02:17:EE:86:4A may offer "main:sample.item.list": authorized_services:1 says "Sample.Item"
	// no rule lets 41:A2:0E:D5:19:8E:AF:A1:E1:7F:80:FC:4C:3E:9B:02:17:EE:86:4A offer main:Sample.echo; change authorized_services:1 to "41:A2:0E:D5:19:8E:AF:A1:E1:7F:80:FC:4C:3E:9B:02:17:EE:86:4A web:Page, Sample.Item, main:Sample"
}
