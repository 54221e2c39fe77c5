package scamptest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/scampbus/scamp-go/internal/ticketscan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(ticketscan.Suite{Tests: m}) }
