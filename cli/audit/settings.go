package audit

import (
	"bytes"
	"errors"

	"github.com/scampbus/scamp-go/scamp"
)

// settings judges soa.conf.
func (j *judge) settings() {
	s := j.Settings
	if s == nil {
		return
	}
	file := Place{File: s.file.Path}
	if s.file.Err != nil {
		j.add("config-unreadable", file, "%v", s.file.Err)
		return
	}
	if bytes.HasPrefix(s.file.Text, byteOrderMark) {
		j.add("file-bom", Place{File: s.file.Path, Line: 1}, "the configuration begins with a byte order mark, so that other implementations lose line 1").Severity = Warning
	}
	for _, err := range s.problems {
		var line *scamp.ConfigError
		if errors.As(err, &line) {
			j.add("config-value", Place{File: line.File, Line: line.Line}, "%s", line.Text)
		} else {
			j.add("config-unreadable", file, "%v", err)
		}
	}
	c := s.Config
	for _, w := range c.Warnings {
		id := "config-line"
		if w.Unknown {
			id = "config-unknown-key"
		}
		j.add(id, Place{File: w.File, Line: w.Line}, "%s", w.Text)
	}
	for _, p := range s.Paths {
		if p.Err != nil {
			j.add("config-path", j.at(p.Key), "%s: %v", p.Key, p.Err).permit(p.Err)
		}
	}
	for _, d := range s.Dirs {
		if d.Err == nil {
			continue
		}
		f := j.add("config-directory", j.at(d.Key), "%s: %v", d.Key, d.Err)
		if d.Foreign {
			f.Severity, f.Fix = Info, "nothing to do, unless this user is to write there"
		}
	}
	if used := c.WithDefaults(); c.LastPort > 0 && c.LastPort < used.FirstPort {
		j.add("config-ports", j.at("beepish.last_port"), "beepish.last_port is %d, below beepish.first_port, which is %d: the ports from %[2]d to %d are used",
			c.LastPort, used.FirstPort, used.LastPort)
	}
	j.addresses(c)
}

// at returns the line that sets a key.
func (j *judge) at(key string) Place {
	return Place{File: j.Settings.file.Path, Line: j.Settings.Config.Line(key)}
}

// addresses judges the keys that select interfaces.
func (j *judge) addresses(c *scamp.Config) {
	none := true
	for _, k := range []struct {
		key   string
		items []string
	}{{"bus.address", c.BusAddress}, {"discovery.address", c.DiscoveryAddress}, {"service.address", c.ServiceAddress}} {
		if len(k.items) == 0 {
			continue
		}
		none = false
		_, problems := scamp.SelectIfaces(j.Settings.Host, k.key, k.items)
		for _, err := range problems {
			j.add("config-address", j.at(k.key), "%v", err)
		}
	}
	if !none {
		return
	}
	if ifaces, _ := scamp.SelectIfaces(j.Settings.Host, "bus.address", nil); len(ifaces) == 0 {
		f := j.add("config-address", Place{File: j.Settings.file.Path}, "no address is configured, and this host has none in 10/8, 192.168/16 or 172.16/12: services cannot be served")
		f.Severity = Warning
		f.Fix = "set bus.address, to 127.0.0.1 for a bus on this host alone"
	}
}
