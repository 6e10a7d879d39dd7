"""Problems and figures of reports, for monitoring systems."""
