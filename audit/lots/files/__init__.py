"""Experiments by lot in files, for whoever trains and scores in another language: folders, pools, scores."""
