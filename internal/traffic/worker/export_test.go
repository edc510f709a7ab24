package worker

// TwoWorkers lets tests compare with what one worker says.
var TwoWorkers = (*Planner).twoWorkers

// Growth lets tests see when garbage is collected.
var Growth = growth

// Running tells whether there is a worker.
func (c *Client) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process != nil
}
