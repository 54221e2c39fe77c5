package scamp_test

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/scampbus/scamp-go/discovery"
	"github.com/scampbus/scamp-go/scamp"
	"github.com/scampbus/scamp-go/scamp/scamptest"
)

// TestWeightIsNoRatio is THREATS D17: a service that announces a huge weight gets no more
// picks than its peers, and one with a fraction no fewer (PROTOCOL 11.4).
func TestWeightIsNoRatio(t *testing.T) {
	pair := scamptest.New(t).KeyPair()
	rules, err := discovery.ParseAuthorized(strings.NewReader(pair.Certificate.Fingerprint + " main:ALL\n"))
	if err != nil {
		t.Fatal(err)
	}
	d := discovery.NewDirectory(&discovery.DirectoryOptions{Authorized: rules})
	defer d.Close()
	weights := []string{"1", "1e308", "0.5", "100"}
	for i, weight := range weights {
		json := fmt.Sprintf(`[3,"w%s:AAECAwQFBgcICQoLDA0ODxAR","main",%s,5000,"beepish+tls://10.0.0.%d:1",["json"],[["Sample",["echo","",1]]],1700000000123]`,
			weight, weight, i+1)
		digest := sha256.Sum256([]byte(json))
		signature, err := pair.Key.Sign(nil, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%s\n\n%s\n\n%s\n", json, pair.Certificate.PEM(), base64.StdEncoding.EncodeToString(signature))
		if err := d.Receive(discovery.Datagram{Data: []byte(text)}); err != nil {
			t.Fatalf("weight %s: %v", weight, err)
		}
	}
	const picks = 100_000
	got := scamp.Picks(d.Find(discovery.Query{Action: "Sample.echo"}), picks)
	for _, weight := range weights {
		// The share is 25,000 give or take 137 (one standard deviation).
		if n := got["w"+weight+":AAECAwQFBgcICQoLDA0ODxAR"]; n < picks/4-1000 || n > picks/4+1000 {
			t.Errorf("weight %s is picked %d times of %d: want about a quarter", weight, n, picks)
		}
	}
}
