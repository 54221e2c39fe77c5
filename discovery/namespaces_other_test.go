//go:build !linux

package discovery_test

import "testing"

func testNamespaces(t *testing.T) {
	t.Skip("SKIPPED, NOT TESTED: network namespaces are a thing of Linux")
}
