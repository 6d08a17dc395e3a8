"""The pages' blocks as a W&B report. No number is made here."""
