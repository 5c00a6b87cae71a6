"""SCTP over DTLS, sans-IO (RFC 9260, RFC 8261)."""
