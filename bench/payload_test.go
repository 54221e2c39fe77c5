package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPayload(t *testing.T) {
	for _, size := range []int{64, 1024, 16384, BulkChunk} {
		for _, slow := range []int{0, 5} {
			p := newPayload(size, slow)
			var v struct {
				ID   string `json:"id"`
				Slow int    `json:"slow_ms"`
			}
			p.setStamp(0xfedcba9876543210)
			if err := json.Unmarshal(p.b, &v); err != nil || len(p.b) != size || v.ID != "fedcba9876543210" || v.Slow != slow {
				t.Errorf("payload of %d, slow %d: %d bytes %.60q, %v: want JSON of that size with its stamp", size, slow, len(p.b), p.b, err)
			}
			if IsSlow(p.b) != (slow > 0) || string(p.stampOf(p.b)) != v.ID {
				t.Errorf("payload of %d, slow %d: slow %v, stamp %q", size, slow, IsSlow(p.b), p.stampOf(p.b))
			}
		}
	}
}

func TestHandle(t *testing.T) {
	for _, tt := range []struct {
		req   string
		least time.Duration
	}{
		{"", 0},
		{"hello", 0},
		{`{"slow_ms":`, 0},
		{`{"slow_ms":x,`, 0},
		{`{"slow_ms":20,"id":"1"}`, 20 * time.Millisecond},
	} {
		began := time.Now()
		got := Handle([]byte(tt.req))
		if took := time.Since(began); string(got) != tt.req || took < tt.least {
			t.Errorf("Handle(%q): %q after %v, want an echo after %v", tt.req, got, took, tt.least)
		}
	}
}

func TestPatternAndChunks(t *testing.T) {
	const n = 3*BulkChunk + 17
	read, err := io.ReadAll(io.LimitReader(new(Pattern), n))
	if err != nil || len(read) != n {
		t.Fatalf("pattern: %d bytes, %v, want %d", len(read), err, n)
	}
	var sent, copied []byte
	collect := func(to *[]byte) func([]byte) error {
		return func(b []byte) error { *to = append(*to, b...); return nil }
	}
	if err := Chunks(n, collect(&sent)); err != nil || !bytes.Equal(sent, read) {
		t.Errorf("Chunks: %d bytes, %v, want the pattern's %d", len(sent), err, n)
	}
	if err := ReadChunks(new(Pattern), n, collect(&copied)); err != nil || !bytes.Equal(copied, read) {
		t.Errorf("ReadChunks: %d bytes, %v, want the pattern's %d", len(copied), err, n)
	}
	if err := ReadChunks(bytes.NewReader(nil), 1, collect(&copied)); err != io.EOF {
		t.Errorf("ReadChunks of nothing: %v, want %v", err, io.EOF)
	}
	for _, v := range []int64{0, 1, 1 << 40} {
		if got := GetI64(I64(v)); got != v {
			t.Errorf("GetI64(I64(%d)): %d", v, got)
		}
	}
	if got := GetI64([]byte("short")); got != -1 {
		t.Errorf("GetI64 of 5 bytes: %d, want -1", got)
	}
}

// Quantiles are within a step of the exact ones.
func TestHist(t *testing.T) {
	var a, b hist
	var all []uint64
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		v := uint64(rng.ExpFloat64() * 50_000)
		all = append(all, v)
		if i%2 == 0 {
			a.add(time.Duration(v))
		} else {
			b.add(time.Duration(v))
		}
	}
	a.merge(&b)
	slices.Sort(all)
	for _, q := range []float64{0, .01, .5, .99, .999, 1} {
		want := float64(all[min(int(q*float64(len(all))), len(all)-1)]) / 1e3
		if got := a.q(q); got < want*0.984-0.001 || got > want*1.016+0.001 {
			t.Errorf("quantile %v: %v us, want %v within 1.6 %%", q, got, want)
		}
	}
	var none hist
	none.merge(&hist{})
	if got := none.q(.5); got != 0 {
		t.Errorf("quantile of nothing: %v, want 0", got)
	}
	var long hist
	long.add(10 * 365 * 24 * time.Hour)
	if got := long.q(.5); got <= 0 {
		t.Errorf("quantile of ten years: %v, want the last step", got)
	}
}
