// Package all knows every adapter of this module.
package all

import (
	"github.com/scampbus/scamp-go/bench"
	"github.com/scampbus/scamp-go/bench/peers/connectpeer"
	"github.com/scampbus/scamp-go/bench/peers/drpcpeer"
	"github.com/scampbus/scamp-go/bench/peers/grpcpeer"
	"github.com/scampbus/scamp-go/bench/peers/httppeer"
	"github.com/scampbus/scamp-go/bench/peers/limit"
	"github.com/scampbus/scamp-go/bench/peers/natspeer"
	"github.com/scampbus/scamp-go/bench/peers/netrpcpeer"
	"github.com/scampbus/scamp-go/bench/peers/scamppeer"
)

// Peers returns an adapter of each kind, in the order of the tables.
func Peers() []bench.Adapter {
	return []bench.Adapter{
		new(scamppeer.Adapter), &scamppeer.Adapter{Old: true},
		limit.Adapter{}, limit.Adapter{PerRequest: true}, limit.Text{}, limit.Text{Immediate: true},
		grpcpeer.Adapter{}, grpcpeer.Adapter{PB: true}, drpcpeer.Adapter{}, connectpeer.Adapter{},
		natspeer.Adapter{}, netrpcpeer.Adapter{}, httppeer.Adapter{},
	}
}
