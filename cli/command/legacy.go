package command

import "strings"

// oldFlags are the flags of the old Go command, which had no commands, and what they
// are called now.
var oldFlags = map[string]struct{ command, flag string }{
	"announcepath":    {"sign", "--spec"},
	"keypath":         {"sign", "--key"},
	"certpath":        {"sign", "--cert"},
	"fingerprintpath": {"fingerprint", ""},
}

// translate turns the arguments of the old Go command into ours. Scripts call it as
//
//	scamp -announcepath=SPEC -keypath=KEY -certpath=CERT
//	scamp -fingerprintpath=CERT
//
// with one dash or two, and the value behind = or in the next argument. Each may be
// given more than once.
func translate(args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	if _, _, old := oldFlag(args[0]); !old {
		return args, nil
	}
	command, out, files := "", []string(nil), []string(nil)
	for i := 0; i < len(args); i++ {
		name, value, old := oldFlag(args[i])
		if !old {
			out = append(out, args[i])
			continue
		}
		if !strings.Contains(args[i], "=") {
			if i++; i == len(args) {
				return nil, usagef("-%s: want a file behind it", name)
			}
			value = args[i]
		}
		now := oldFlags[name]
		if command != "" && command != now.command {
			return nil, usagef("-fingerprintpath does not go with the flags for signing")
		}
		command = now.command
		if now.flag == "" {
			files = append(files, value)
		} else {
			out = append(out, now.flag+"="+value)
		}
	}
	out = append([]string{command}, out...)
	if len(files) > 0 {
		out = append(append(out, "--sha1", "--"), files...)
	}
	return out, nil
}

// oldFlag returns the name of an old flag and what stands behind its =.
func oldFlag(arg string) (name, value string, ok bool) {
	name, dashed := strings.CutPrefix(arg, "-")
	name = strings.TrimPrefix(name, "-")
	name, value, _ = strings.Cut(name, "=")
	_, ok = oldFlags[name]
	return name, value, ok && dashed
}
