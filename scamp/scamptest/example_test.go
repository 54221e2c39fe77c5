package scamptest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

type order struct{ Item string }

// What is tested: a service that asks another one.
func registerShop(bus *scamp.Bus) func(*scamp.Service) {
	return func(svc *scamp.Service) {
		scamp.HandleJSON(svc, "Shop.order", func(ctx context.Context, in order) (string, error) {
			left, err := scamp.Call[int](ctx, bus, "Stock.left", in.Item)
			if err != nil || left == 0 {
				return "sold out", err
			}
			return "on its way", nil
		}, nil)
	}
}

// testShop is a test as one writes it: the whole bus in memory, with real certificates,
// and gone when the test ends.
func testShop(t testing.TB) {
	net := scamptest.New(t)
	net.Serve("stock", func(svc *scamp.Service) {
		scamp.HandleJSON(svc, "Stock.left", func(_ context.Context, item string) (int, error) {
			return map[string]int{"lamp": 3}[item], nil
		}, nil)
	})
	net.Serve("shop", registerShop(net.Bus(nil)))

	bus := net.Bus(nil)
	for _, item := range []string{"lamp", "chair"} {
		out, err := scamp.Call[string](t.Context(), bus, "Shop.order", order{item})
		if err != nil {
			t.Error(err)
		}
		fmt.Printf("%s: %s\n", item, out)
	}
}

func Example() {
	run(testShop)
	// Output:
	// lamp: on its way
	// chair: sold out
}

// run runs a test outside of go test, for the example.
func run(test func(testing.TB)) {
	t := new(exampleTB)
	test(t)
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()                  {}
func (t *exampleTB) Name() string             { return "Example" }
func (t *exampleTB) Context() context.Context { return context.Background() }
func (t *exampleTB) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Error(args ...any)        { fmt.Println(args...) }
func (t *exampleTB) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
