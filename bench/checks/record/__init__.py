"""The audit behind `bench check METHOD --results` and `bench verify`: does a record follow from what else it says?

`audit` goes over the checks of a record, `rerun` runs or measures it again. No record is changed, and no rank made.
"""
