"""Fakes and helpers that tests of more than one package use."""
