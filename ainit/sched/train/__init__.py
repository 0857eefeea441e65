"""Training of the scheduling policy, in simulation. None of this goes into an image.

``traces`` and ``workload`` make jobs, ``engine`` runs them, ``options`` and ``rules`` decide,
``es`` and ``ppo`` learn; ``windows`` and ``bound`` say how far from the optimum all that is.
"""
