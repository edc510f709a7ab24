package worker

// TwoWorkers lets tests compare with what one worker says.
var TwoWorkers = (*Planner).twoWorkers
