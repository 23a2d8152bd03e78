"""converge against its peers: the same servers, the same work, whole commands by the clock."""
