package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
)

// sarifSchema is where the schema of SARIF 2.1.0 is.
const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// The part of SARIF 2.1.0 that a report fills.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string             `json:"id"`
		ShortDescription sarifText          `json:"shortDescription"`
		FullDescription  sarifText          `json:"fullDescription"`
		Help             sarifText          `json:"help"`
		Default          sarifConfiguration `json:"defaultConfiguration"`
		Properties       sarifProperties    `json:"properties"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifProperties struct {
		Tags []string `json:"tags"`
	}
	sarifResult struct {
		RuleID              string            `json:"ruleId"`
		RuleIndex           int               `json:"ruleIndex"`
		Level               string            `json:"level"`
		Message             sarifText         `json:"message"`
		Locations           []sarifLocation   `json:"locations,omitempty"`
		PartialFingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
	}
)

// WriteSARIF writes a report as SARIF 2.1.0, which code scanners read. The version is
// that of the command; empty for none.
func WriteSARIF(w io.Writer, r *Report, version string) error {
	driver := sarifDriver{Name: "scamp", Version: version, InformationURI: "https://github.com/scampbus/scamp-go", Rules: make([]sarifRule, len(kinds))}
	index := make(map[string]int, len(kinds))
	for i, k := range kinds {
		index[k.ID] = i
		driver.Rules[i] = sarifRule{
			ID: k.ID, ShortDescription: sarifText{k.Title}, FullDescription: sarifText{k.Meaning}, Help: sarifText{k.Meaning + " What to do: " + k.Fix + "."},
			Default: sarifConfiguration{sarifLevel(k.Severity)}, Properties: sarifProperties{[]string{k.Group.String()}},
		}
	}
	run := sarifRun{Tool: sarifTool{driver}, ColumnKind: "utf16CodeUnits", Results: make([]sarifResult, len(r.Findings))}
	for i := range r.Findings {
		f := &r.Findings[i]
		text := f.Text
		if f.Fix != "" {
			text += ". Fix: " + f.Fix
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%s", f.ID, f.Place.File, f.Place.Ident, f.Fingerprint, f.Text))
		run.Results[i] = sarifResult{
			RuleID: f.ID, RuleIndex: index[f.ID], Level: sarifLevel(f.Severity), Message: sarifText{text}, Locations: f.Place.sarif(),
			PartialFingerprints: map[string]string{"finding/v1": hex.EncodeToString(sum[:16])},
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

func sarifLevel(s Severity) string {
	if s == Info {
		return "note"
	}
	return s.String()
}

// sarif returns a place as SARIF has it: none, or one location.
func (p Place) sarif() []sarifLocation {
	var at sarifLocation
	if p.File != "" {
		uri := url.URL{Path: filepath.ToSlash(p.File)}
		if filepath.IsAbs(p.File) {
			uri.Scheme = "file"
		}
		at.Physical = &sarifPhysical{Artifact: sarifArtifact{uri.String()}}
		if p.Line > 0 {
			at.Physical.Region = &sarifRegion{p.Line}
		}
	}
	if p.Ident != "" {
		at.Logical = []sarifLogical{{p.Ident, "instance"}}
	}
	if p.File == "" && p.Ident == "" {
		return nil
	}
	return []sarifLocation{at}
}
