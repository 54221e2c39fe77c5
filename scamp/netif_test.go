package scamp_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
)

// hostOf makes interfaces of lines "NAME ADDRESS"; equal names have equal indexes.
func hostOf(lines ...string) []discovery.Iface {
	var all []discovery.Iface
	var names []string
	for _, line := range lines {
		name, addr, _ := strings.Cut(line, " ")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		all = append(all, discovery.Iface{Name: name, Index: slices.Index(names, name) + 1, Addr: netip.MustParseAddr(addr)})
	}
	return all
}

func TestSelectIfaces(t *testing.T) {
	big := hostOf("lo 127.0.0.1", "wan 203.0.113.9", "docker0 172.17.0.1", "home 192.168.1.7", "eth1 10.0.0.5", "eth1 10.0.0.6", "eth2 10.9.0.1")
	for _, tt := range []struct {
		name     string
		host     []discovery.Iface
		items    string
		want     string // addresses
		problems []string
	}{
		{"autodetect prefers 10/8, the first", big, "", "10.0.0.5", nil},
		{"then 192.168/16", big[:4], "", "192.168.1.7", nil},
		{"then 172.16/12", big[:3], "", "172.17.0.1", nil},
		{"the end of 172.16/12", hostOf("a 172.31.255.255"), "", "172.31.255.255", nil},
		{"beyond 172.16/12", hostOf("a 172.32.0.1", "b 172.15.0.1"), "", "", nil},
		{"never loopback or public by itself", big[:2], "", "", nil},
		{"no interface at all", nil, "", "", nil},
		{"address", big, "203.0.113.9", "203.0.113.9", nil},
		{"loopback when asked for", big, "127.0.0.1", "127.0.0.1", nil},
		{"several, in their order", big, "10.9.0.1,127.0.0.1", "10.9.0.1 127.0.0.1", nil},
		{"by name, its first address", big, "if:eth1", "10.0.0.5", nil},
		{"by name, loopback", big, "if:lo", "127.0.0.1", nil},
		{"each once", big, "10.0.0.5,if:eth1,10.0.0.5", "10.0.0.5", nil},
		{"two addresses of one interface", big, "10.0.0.5,10.0.0.6", "10.0.0.5 10.0.0.6", nil},
		{"not of this host", big, "10.0.0.7,127.0.0.1", "127.0.0.1", []string{`scamp: bus.address: "10.0.0.7": want an address of this host: 127.0.0.1 (if:lo), 203`}},
		{"no such interface", big, "if:eth9", "", []string{`"if:eth9": want an interface of this host`}},
		{"name without if:", big, "eth1", "", []string{`"eth1": want an IPv4 address or if:NAME`}},
		{"IPv6", big, "::1", "", []string{`"::1": want an IPv4 address or if:NAME`}},
		{"any address", big, "0.0.0.0", "", []string{`"0.0.0.0": want an address of this host`}},
		{"each problem is told", nil, "if:,10.1", "", []string{`"if:": want an interface of this host that is up and has an IPv4 address: it has none`, `"10.1": want an IPv4 address`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var items []string
			if tt.items != "" {
				items = strings.Split(tt.items, ",")
			}
			ifaces, problems := scamp.SelectIfaces(tt.host, "bus.address", items)
			var got []string
			for _, iface := range ifaces {
				got = append(got, iface.Addr.String())
				if !slices.Contains(tt.host, iface) {
					t.Errorf("%+v is not of the host", iface)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q of %v: %q, want %q", tt.items, tt.host, got, tt.want)
			}
			if len(problems) != len(tt.problems) {
				t.Fatalf("%q: problems %q, want %q", tt.items, problems, tt.problems)
			}
			for i, want := range tt.problems {
				if !strings.Contains(problems[i].Error(), want) {
					t.Errorf("%q: problem %q, want %q", tt.items, problems[i], want)
				}
			}
		})
	}
}

// TestSelectIfacesOfManyIsShort keeps a problem readable on a host with a thousand
// addresses.
func TestSelectIfacesOfManyIsShort(t *testing.T) {
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("if%d 10.0.%d.%d", i, i/250, i%250+1))
	}
	_, problems := scamp.SelectIfaces(hostOf(lines...), "bus.address", []string{"192.0.2.1"})
	if len(problems) != 1 || len(problems[0].Error()) > 600 {
		t.Errorf("problems %q, want one that is short", problems)
	}
}

// TestHostIfacesHasLoopback: lo lacks the MULTICAST flag and must be there all the
// same (PROTOCOL 7.11).
func TestHostIfacesHasLoopback(t *testing.T) {
	ifaces, err := scamp.HostIfaces()
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	i := slices.IndexFunc(ifaces, func(iface discovery.Iface) bool { return iface.Addr == local })
	if i < 0 {
		t.Skip("SKIPPED: this host has no 127.0.0.1 that is up")
	}
	if ifaces[i].Index == 0 || ifaces[i].Name == "" {
		t.Errorf("%+v: want an index and a name", ifaces[i])
	}
	c := parseConfig(t, "bus.address = 127.0.0.1\ndiscovery.address = if:"+ifaces[i].Name+"\nservice.address = 192.0.2.254")
	if got, problems := c.DiscoveryIfaces(); len(problems) > 0 || !slices.Equal(got, ifaces[i:i+1]) {
		t.Errorf("DiscoveryIfaces = %v, %v, want %v", got, problems, ifaces[i])
	}
	if got, problems := c.ServiceIfaces(); len(got) > 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), "service.address") {
		t.Errorf("ServiceIfaces of an address of nobody = %v, %v, want one problem with service.address", got, problems)
	}
	c = parseConfig(t, "bus.address = 127.0.0.1")
	for _, ifacesOf := range []func() ([]discovery.Iface, []error){c.DiscoveryIfaces, c.ServiceIfaces} {
		if got, problems := ifacesOf(); len(problems) > 0 || !slices.Equal(got, ifaces[i:i+1]) {
			t.Errorf("bus.address for both: %v, %v, want %v", got, problems, ifaces[i])
		}
	}
}

func ExampleSelectIfaces() {
	host := []discovery.Iface{
		{Name: "lo", Index: 1, Addr: netip.MustParseAddr("127.0.0.1")},
		{Name: "eth0", Index: 2, Addr: netip.MustParseAddr("10.0.0.5")},
	}
	ifaces, _ := scamp.SelectIfaces(host, "bus.address", nil)
	fmt.Println(ifaces[0].Addr)
	_, problems := scamp.SelectIfaces(host, "bus.address", []string{"if:eth1"})
	fmt.Println(problems[0])
	// Output:
	// 10.0.0.5
	// scamp: bus.address: "if:eth1": want an interface of this host that is up and has an IPv4 address: 127.0.0.1 (if:lo), 10.0.0.5 (if:eth0)
}
