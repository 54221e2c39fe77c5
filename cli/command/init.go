package command

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scampbus/scamp-go/scamp"
)

// A busLayout says where the files of a bus that init makes are.
type busLayout struct {
	dir, config, rules, keys, run, cache, running string
}

func layoutOf(dir string) (busLayout, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return busLayout{}, fmt.Errorf("scamp: directory %q: %w", dir, err)
	}
	// There is no quoting in soa.conf, and old Go programs cut a value at a blank.
	if strings.ContainsAny(dir, "#=") || strings.ContainsFunc(dir, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return busLayout{}, fmt.Errorf("scamp: directory %q: want a path without blanks, '#' and '=', which a soa.conf cannot hold", dir)
	}
	in := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	return busLayout{
		dir: dir, config: in("soa.conf"), rules: in("authorized_services"), keys: in("services"),
		run: in("run"), cache: in("run", "discovery"), running: in("run", "services"),
	}, nil
}

// initOptions are the flags of init.
type initOptions struct {
	dir       string
	address   string
	multicast string
	port      int
}

func (a *app) initCommand() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init --dir DIR",
		Short: "Make the files of a bus",
		Long: `Init makes DIR/soa.conf, DIR/authorized_services and the folders for keys (services) and
for what running programs write (run). The bus is one on loopback: it uses 127.0.0.1 alone,
until you change bus.address in DIR/soa.conf, or name another one with --address.

Nothing that exists is changed: init says what it made and what was there already.

With --json: dir, config, authorized_services, keys, cache, made (list of paths), exists
(list of paths).`,
		Example: `  scamp init --dir bus
  scamp init --dir /etc/SCAMP --address if:eth0`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.dir == "" {
				return &usageError{"scamp init", errors.New("--dir is missing: want --dir DIR")}
			}
			layout, made, err := initBus(o)
			if err != nil {
				return err
			}
			a.doubtInit(layout, made, &o, cmd.Flags().Changed)
			return a.tellInit(layout, made)
		},
	}
	cmd.Flags().StringVar(&o.dir, "dir", "", "directory of the bus, made if it is missing")
	cmd.Flags().StringVar(&o.address, "address", "127.0.0.1", "bus.address: an IPv4 `ADDRESS` of this host, or if:NAME")
	cmd.Flags().StringVar(&o.multicast, "multicast", "", "multicast `GROUP` of the bus; default: that of the protocol")
	cmd.Flags().IntVar(&o.port, "port", 0, "multicast `PORT` of the bus; default: that of the protocol")
	return cmd
}

// A madePath is a file or directory of a bus, and whether init made it.
type madePath struct {
	path string
	made bool
}

// initBus makes what is missing of a bus.
func initBus(o initOptions) (busLayout, []madePath, error) {
	layout, err := layoutOf(o.dir)
	if err != nil {
		return layout, nil, err
	}
	config, err := o.configText(layout)
	if err != nil {
		return layout, nil, err
	}
	var paths []madePath
	for _, dir := range []string{layout.dir, layout.keys, layout.run, layout.running} {
		made, err := makeDir(dir)
		if err != nil {
			return layout, paths, fmt.Errorf("scamp: init: %w", err)
		}
		paths = append(paths, madePath{dir, made})
	}
	for _, f := range []struct{ path, text string }{{layout.config, config}, {layout.rules, rulesText}} {
		err := writeNew(f.path, []byte(f.text), 0o644)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return layout, paths, fmt.Errorf("scamp: init: %w", err)
		}
		paths = append(paths, madePath{f.path, err == nil})
	}
	return layout, paths, nil
}

// configText is the soa.conf of a new bus.
func (o *initOptions) configText(layout busLayout) (string, error) {
	address := o.address
	if _, named := strings.CutPrefix(address, "if:"); !named {
		addr, err := netip.ParseAddr(address)
		if err != nil || !addr.Is4() {
			return "", usagef("--address %q: want an IPv4 address, or if:NAME", address)
		}
	}
	if strings.ContainsAny(address, "#\r\n ") {
		return "", usagef("--address %q: want an IPv4 address, or if:NAME", address)
	}
	var b strings.Builder
	fmt.Fprintf(&b, configHead, address, layout.rules, layout.cache, layout.running)
	if o.multicast != "" {
		group, err := netip.ParseAddr(o.multicast)
		if err != nil || !group.Is4() || !group.IsMulticast() {
			return "", usagef("--multicast %q: want an IPv4 multicast group, 224.0.0.0 to 239.255.255.255", o.multicast)
		}
		fmt.Fprintf(&b, "discovery.multicast_address = %s\n", group)
	}
	if o.port != 0 {
		if o.port < 1 || o.port > 65535 {
			return "", usagef("--port %d: want 1 to 65535", o.port)
		}
		fmt.Fprintf(&b, "discovery.port = %d\n", o.port)
	}
	return b.String(), nil
}

const configHead = `# Configuration of a SCAMP bus, made by scamp init. Every key that is not here has its
# default; soa.conf.example of scamp-go explains them all.

# Addresses of this host to serve and announce on. 127.0.0.1 is a bus on one machine.
bus.address = %s

# Which certificate may offer which action; scamp provision adds to it.
bus.authorized_services = %s

# What scamp cache writes and everybody else reads.
discovery.cache_path = %s

# Here each running instance keeps a file, for liveness checks.
service.running_service_file_dir_path = %s
`

const rulesText = `# authorized_services: which certificate may offer which action.
#
#   FINGERPRINT  SECTOR:CLASS, SECTOR:CLASS.action, SECTOR:ALL
#
# FINGERPRINT is what scamp fingerprint prints. scamp provision adds a line for a new
# service. Changes count within 2 seconds; what no line allows is denied.
`

// doubtInit tells of an address that this host does not have, and of what was asked for
// but stands otherwise in a configuration that was there.
func (a *app) doubtInit(layout busLayout, paths []madePath, o *initOptions, asked func(flag string) bool) {
	if !onThisHost(o.address) {
		a.say("warning: no interface of this host has %s now: services cannot start and nobody is heard until one has", clean(o.address))
	}
	if slices.Contains(paths, madePath{layout.config, true}) {
		return
	}
	cfg, err := scamp.ReadConfig(layout.config)
	if err != nil {
		a.say("%v", err)
		return
	}
	for _, v := range []struct{ flag, key, want string }{
		{"address", "bus.address", o.address},
		{"multicast", "discovery.multicast_address", o.multicast},
		{"port", "discovery.port", strconv.Itoa(o.port)},
	} {
		if has, _ := cfg.Lookup(v.key); asked(v.flag) && has != v.want {
			a.say("warning: %s stays as it is, where %s is %q and not %s: change it there", layout.config, v.key, clean(has), clean(v.want))
		}
	}
}

// onThisHost reports whether an interface has the address, or is the one in if:NAME. Where
// that cannot be told it says yes.
func onThisHost(address string) bool {
	if name, named := strings.CutPrefix(address, "if:"); named {
		_, err := net.InterfaceByName(name)
		return err == nil
	}
	want := net.ParseIP(address)
	addrs, err := net.InterfaceAddrs()
	return err != nil || want.IsLoopback() || slices.ContainsFunc(addrs, func(a net.Addr) bool {
		ip, ok := a.(*net.IPNet)
		return ok && ip.IP.Equal(want)
	})
}

func (a *app) tellInit(layout busLayout, paths []madePath) error {
	if a.json {
		v := initJSON{
			Dir: layout.dir, Config: layout.config, Authorized: layout.rules, Keys: layout.keys, Cache: layout.cache,
			Made: []string{}, Exists: []string{},
		}
		for _, p := range paths {
			if p.made {
				v.Made = append(v.Made, p.path)
			} else {
				v.Exists = append(v.Exists, p.path)
			}
		}
		return a.printJSON(v)
	}
	for _, p := range paths {
		word := "exists"
		if p.made {
			word = "made"
		}
		if err := a.printf("%s\t%s\n", word, clean(p.path)); err != nil {
			return err
		}
	}
	a.say("next: scamp --config %s provision NAME main:NAME", layout.config)
	return nil
}

type initJSON struct {
	Dir        string   `json:"dir"`
	Config     string   `json:"config"`
	Authorized string   `json:"authorized_services"`
	Keys       string   `json:"keys"`
	Cache      string   `json:"cache"`
	Made       []string `json:"made"`
	Exists     []string `json:"exists"`
}

// makeDir makes a directory and those above it, and says whether it was missing.
func makeDir(path string) (made bool, err error) {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return false, fmt.Errorf("%s: want a directory", path)
		}
		return false, nil
	}
	return true, os.MkdirAll(path, 0o755)
}

// writeNew writes a file that must not exist yet. It is there whole or not at all, however
// we end.
func writeNew(path string, text []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		var why *fs.PathError
		if errors.As(err, &why) {
			why.Path = path // people know no other
		}
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); err == nil {
		return nil
	}
	// A file system without links: whoever makes the file in this moment loses.
	if info, err := os.Lstat(path); err == nil {
		return &existsError{path, info.IsDir()}
	}
	return os.Rename(f.Name(), path)
}

// An existsError says that a new file was to be made where something is.
type existsError struct {
	path string
	dir  bool
}

func (e *existsError) Error() string {
	if e.dir {
		return fmt.Sprintf("%s is a directory: want a new file", clean(e.path))
	}
	return fmt.Sprintf("%s exists and is not touched: name another file", clean(e.path))
}

func (e *existsError) Is(target error) bool { return target == fs.ErrExist }
