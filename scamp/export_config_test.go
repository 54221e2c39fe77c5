package scamp

// What tests of the configuration and of running-service files need from inside.

// ConfigSetting is a key that has a field, as the table has it.
type ConfigSetting struct{ Key, Alias, Default string }

// ConfigSettings returns every key that has a field.
func ConfigSettings() []ConfigSetting {
	var all []ConfigSetting
	for _, s := range settings {
		all = append(all, ConfigSetting{s.key, s.alias, s.def})
	}
	return all
}

// FieldsOf returns c without its memory of the file, so that configurations can be
// compared by what they mean.
func FieldsOf(c *Config) Config {
	fields := *c
	fields.File, fields.Warnings, fields.values = "", nil, nil
	return fields
}

// LocateConfigIn is LocateConfig with the known paths below root.
func LocateConfigIn(getenv func(string) string, root string) (string, error) {
	return locateConfig(getenv, root)
}

// FindTicketKeyIn has the bus look for the default files of the ticket key below root.
func FindTicketKeyIn(b *Bus, root string) {
	b.tickets.find = func() string { return b.cfg.ticketKeyPath(root) }
}

// RunningFile and CreateRunningFile are the running-service file.
type RunningFile = runningFile

func CreateRunningFile(dir, ident string) (*RunningFile, error) { return createRunningFile(dir, ident) }

// RemoveLeftovers removes the files of instances of that service that were killed.
func (r *RunningFile) RemoveLeftovers(name string) []string { return r.removeLeftovers(name) }

// Abandon does what the death of its process does to a running-service file.
func (r *RunningFile) Abandon() { r.held.Close() }
