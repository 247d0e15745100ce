package worker_test

func inChildren() {}
