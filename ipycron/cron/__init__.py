"""WHEN: expression text to fields to instants."""
