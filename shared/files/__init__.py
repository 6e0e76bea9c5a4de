"""Files of a tenant: stored behind one boundary, exported by jobs, served by signed links."""
