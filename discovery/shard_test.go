package discovery

import (
	"encoding/binary"
	"testing"
)

// White-box: the shards of an index are not to be seen from outside but by the time that
// a change takes.

// TestOneIdentFillsManyShards: instances that differ in their certificates alone are
// spread like any others, so that each change copies few of them.
func TestOneIdentFillsManyShards(t *testing.T) {
	const instances = 4096
	s, filled := newSeed(), make(map[int]int)
	most := 0
	for i := range instances {
		in := Instance{Ident: "same"}
		binary.BigEndian.PutUint32(in.SHA256[:], uint32(i))
		shard := s.shardOfInstance(in)
		filled[shard]++
		most = max(most, filled[shard])
	}
	if most > 32 { // 4 on average; by chance never so many
		t.Errorf("%d instances with one ident fill %d of %d shards, one of them with %d: want at most 32", instances, len(filled), shardCount, most)
	}
}
