// Package httppeer measures plain net/http HTTP/2 over TLS: POST of a JSON body,
// echoed as bytes.
package httppeer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/scampbus/scamp-go/bench"
)

// Adapter is http2.
type Adapter struct{}

// Name implements bench.Adapter.
func (Adapter) Name() string { return "http2" }

// Notes implements bench.Adapter.
func (Adapter) Notes() string {
	return "net/http HTTP/2, POST application/json, body echoed without decoding"
}

type server struct {
	l net.Listener
	s *http.Server
}

func (s *server) Addr() string { return s.l.Addr().String() }
func (s *server) Close() error { return s.s.Close() }

// Serve implements bench.Adapter.
func (Adapter) Serve(env *bench.Env) (bench.Server, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		var b []byte
		if r.ContentLength >= 0 && r.ContentLength < 1<<20 {
			b = make([]byte, r.ContentLength)
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
		} else {
			b, _ = io.ReadAll(r.Body)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(bench.Handle(b))
	})
	mux.HandleFunc("POST /up", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 64<<10))
		w.Write([]byte(strconv.FormatInt(n, 10)))
	})
	mux.HandleFunc("POST /down", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.FormValue("n"), 10, 64)
		bench.Chunks(n, func(b []byte) error { _, err := w.Write(b); return err })
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &http.Server{Handler: mux, TLSConfig: env.ServerTLS("h2")}
	go s.ServeTLS(l, "", "")
	return &server{l, s}, nil
}

type client struct {
	tr   *http.Transport
	hc   *http.Client
	base string
}

// Connect implements bench.Adapter.
func (Adapter) Connect(_ context.Context, addr string, env *bench.Env) (bench.Client, error) {
	tr := &http.Transport{TLSClientConfig: env.ClientTLS("h2"), ForceAttemptHTTP2: true}
	return &client{tr, &http.Client{Transport: tr}, "https://" + addr}, nil
}

func (c *client) post(ctx context.Context, path string, body io.Reader, n int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = n
	req.Header.Set("Content-Type", "application/json")
	rep, err := c.hc.Do(req)
	if err != nil {
		return nil, err
	}
	if rep.StatusCode != 200 || rep.ProtoMajor != 2 {
		rep.Body.Close()
		return nil, fmt.Errorf("%s %s", rep.Proto, rep.Status)
	}
	return rep, nil
}

func (c *client) Unary(ctx context.Context, req, dst []byte) ([]byte, error) {
	rep, err := c.post(ctx, "/echo", bytes.NewReader(req), int64(len(req)))
	if err != nil {
		return nil, err
	}
	defer rep.Body.Close()
	if n := rep.ContentLength; n >= 0 && n <= int64(cap(dst)) {
		dst = dst[:n]
		if _, err := io.ReadFull(rep.Body, dst); err != nil {
			return nil, err
		}
		io.Copy(io.Discard, rep.Body)
		return dst, nil
	}
	return io.ReadAll(rep.Body)
}

func (c *client) BulkUp(ctx context.Context, r io.Reader, n int64) (int64, error) {
	rep, err := c.post(ctx, "/up", io.LimitReader(r, n), n)
	if err != nil {
		return 0, err
	}
	defer rep.Body.Close()
	b, err := io.ReadAll(rep.Body)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(b), 10, 64)
}

func (c *client) BulkDown(ctx context.Context, n int64, w io.Writer) (int64, error) {
	rep, err := c.post(ctx, "/down?n="+strconv.FormatInt(n, 10), nil, 0)
	if err != nil {
		return 0, err
	}
	defer rep.Body.Close()
	return io.CopyBuffer(struct{ io.Writer }{w}, rep.Body, make([]byte, 64<<10))
}

func (c *client) Close() error { c.tr.CloseIdleConnections(); return nil }
