"""Session descriptions: parse and write SDP, negotiate a session of data channels (RFC 8829, RFC 8841)."""

from rtcstack.sdp.candidate import CandidateLine, is_end_of_candidates, parse_candidate
from rtcstack.sdp.description import Attribute, MediaSection, Section, SessionDescription
from rtcstack.sdp.negotiate import (
    LocalParameters,
    RemoteParameters,
    answer_setup,
    check_answer,
    check_update,
    data_section,
    line_of,
    read_remote,
    write_answer,
    write_offer,
)
from rtcstack.sdp.state import SignalingState, next_state

__all__ = [
    "Attribute",
    "CandidateLine",
    "LocalParameters",
    "MediaSection",
    "RemoteParameters",
    "Section",
    "SessionDescription",
    "SignalingState",
    "answer_setup",
    "check_answer",
    "check_update",
    "data_section",
    "is_end_of_candidates",
    "line_of",
    "next_state",
    "parse_candidate",
    "read_remote",
    "write_answer",
    "write_offer",
]
