package mux_test

import (
	"testing"

	"github.com/scampbus/scamp-go/scamp/internal/mux"
)

// TestEcho sends bodies of all interesting sizes through two ends and back.
func TestEcho(t *testing.T) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			c, _ := connect(t, n, mux.Options{}, echo)
			for _, size := range []int{0, 1, 64, 16384, 16385, 65536, 65537, 1 << 20, 3<<20 + 1} {
				got, err := c.echo(octets(size))
				if err == nil {
					err = diff(got, octets(size))
				}
				if err != nil {
					t.Fatalf("echo of %d octets: %v", size, err)
				}
			}
		})
	}
}
