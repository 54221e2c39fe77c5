package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Caller makes one call and says what a program sees of it; body is that of the reply.
type Caller func(ctx context.Context, action, request string) (body []byte, result CallResult)

// Drive is a requester that does what a Host asks for: it calls NextAction, makes the
// calls it names, tells what became of them, and so on until all is done. Programs that
// are judged do the same in their own language.
func Drive(ctx context.Context, call Caller) error {
	var told report
	for {
		request, err := json.Marshal(told)
		if err != nil {
			return fmt.Errorf("conform: report: %w", err)
		}
		body, result := call(ctx, NextAction, string(request))
		if !result.OK {
			return fmt.Errorf("conform: %s: %s", NextAction, result)
		}
		var plan Plan
		if err := json.Unmarshal(body, &plan); err != nil {
			return fmt.Errorf("conform: %s: %w", NextAction, err)
		}
		if plan.Done {
			return nil
		}
		told.Results = plan.make(ctx, call)
	}
}

// Bounds on what Drive does for a host.
const (
	maxCalls = 1000
	maxBody  = 16 << 20
)

// make makes the calls of a plan.
func (p Plan) make(ctx context.Context, call Caller) []CallResult {
	if p.GiveUpMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(min(p.GiveUpMS, time.Hour.Milliseconds()))*time.Millisecond)
		defer cancel()
	}
	times := max(0, min(p.Times, maxBody/max(len(p.Text), 1)))
	body := `"` + strings.Repeat(p.Text, times) + `"`
	results := make([]CallResult, max(1, min(p.Calls, maxCalls)))
	var work sync.WaitGroup
	for i := range results {
		work.Go(func() { _, results[i] = call(ctx, p.Action, body) }) // ends with the call
	}
	work.Wait()
	return results
}
