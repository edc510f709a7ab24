package git

// Dir is where the mirror is on disk.
func (m *Mirror) Dir() string { return m.run.dir }

// ReaderPID is the process that reads objects, 0 if there is none.
func (m *Mirror) ReaderPID() int {
	m.cat.mu.Lock()
	defer m.cat.mu.Unlock()
	if m.cat.cmd == nil {
		return 0
	}
	return m.cat.cmd.Process.Pid
}
