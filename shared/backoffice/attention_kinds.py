"""Why a tenant needs the attention of operators."""

from enum import StrEnum


class Attention(StrEnum):
    TRIAL_ENDING = "trial_ending"
    PAST_DUE = "past_due"
    LIMIT_NEAR = "near_limit"
    STUCK_SETUP = "stuck_setup"
    FAILING = "failing"
