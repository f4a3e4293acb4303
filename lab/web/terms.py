"""Terms: the words of the field, each in a sentence or two, for the glossary and for help texts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word that pages use."""

    name: str
    about: str
    source: str = ""


FEDERATION = (
    Term(
        "federated learning",
        "Many clients train one model together. Each trains on its own data and sends only what "
        "changed in the model; a server averages the changes and sends the new model back.",
        "McMahan et al. 2017, arXiv:1602.05629",
    ),
    Term("client", "One who holds data and trains on it: a phone, a hospital, a bank."),
    Term("server", "Sends the model to the clients, collects their updates and combines them."),
    Term(
        "outsider",
        "Anybody who is given the finished model, or may ask it questions, and sees nothing else.",
    ),
    Term("cohort", "The clients that are asked in a round. Not everybody has to be."),
    Term("round", "Model out, local training, updates back, one step of the shared model."),
    Term(
        "update",
        "What a client sends: its model after local training minus the model that it was sent. "
        "After a single local step it is a gradient times the learning rate.",
    ),
    Term(
        "gradient",
        "In which direction each number of the model would have to move to raise the loss. It is "
        "computed from examples, and so it tells of them.",
    ),
    Term("local step", "One move of a client's model against the gradient of one batch."),
    Term("batch", "The few examples that one local step looks at."),
    Term("epoch", "One pass of a client over all of its own examples."),
    Term("learning rate", "How far a local step moves. Too large, and training runs away."),
    Term(
        "skew",
        "How far clients' data differ from each other. The lab's number is the mean distance "
        "(total variation) of a client's label shares from everybody's: 0 is alike, 1 is disjoint.",
        "Kairouz et al. 2021, arXiv:1912.04977, section 3.1",
    ),
    Term(
        "iid",
        "Independent and identically distributed: every client's data are a fair sample of all.",
    ),
    Term(
        "Dirichlet split",
        "Every class is dealt out by random shares; the smaller alpha, the more uneven.",
        "Hsu et al. 2019, arXiv:1909.06335",
    ),
    Term("aggregation rule", "How the server makes one step of many updates: a mean, a median."),
    Term("stage", "What is done to updates on their way to the rule: clipping, noise, masks."),
)

PRIVACY = (
    Term(
        "differential privacy",
        "A promise that what is released would look almost the same without any one record. "
        "Noise makes it true, whatever the attacker knows and does.",
        "Dwork and Roth 2014, 'The Algorithmic Foundations of Differential Privacy', section 2.3",
    ),
    Term(
        "epsilon",
        "How much the odds of any conclusion may change because of one record: by a factor of e to "
        "the epsilon at most. 1 is strong, 8 is weak, and it is spent round by round. It means "
        "nothing without delta, the unit, and who the adversary is.",
        "Dwork and Roth 2014, section 2.3",
    ),
    Term(
        "delta",
        "The chance that the promise of epsilon fails altogether. It has to be well below one over "
        "the number of records, or exposing somebody outright would be allowed.",
        "Dwork and Roth 2014, section 2.3",
    ),
    Term(
        "unit of protection",
        "What one record is: an example, or everything that a client holds. Protecting a client "
        "asks for far more noise than protecting an example.",
    ),
    Term(
        "clip",
        "The longest gradient or update that is let through; longer ones are shortened to it. It "
        "bounds what one record can do, so that noise can hide it. Without noise it hides nothing.",
        "Abadi et al. 2016, arXiv:1607.00133, section 3.1",
    ),
    Term(
        "noise multiplier",
        "The standard deviation of the noise, as a multiple of the clip.",
        "Abadi et al. 2016, arXiv:1607.00133",
    ),
    Term(
        "DP-SGD",
        "Local training that clips every example's gradient and adds noise to their sum.",
        "Abadi et al. 2016, arXiv:1607.00133, algorithm 1",
    ),
    Term(
        "accountant",
        "Adds up what all rounds spend together. Different accountants prove different numbers for "
        "the same noise; the lab states the tightest that is sound.",
    ),
    Term(
        "Poisson sampling",
        "Every record is drawn by a coin of its own. Only then does drawing few records amplify "
        "privacy as accountants count it; shuffled batches of fixed size do not.",
    ),
    Term(
        "privacy budget",
        "The epsilon that a run may spend. When it is used up, training has to end.",
    ),
    Term(
        "audit",
        "An attack turned into proof: canaries are planted, and from how well they are found "
        "follows, with a stated confidence, an epsilon that the mechanism cannot be below. Each "
        "bound names what it assumes.",
        "Steinke et al. 2023, arXiv:2305.08846",
    ),
    Term(
        "canary",
        "An example, gradient or client, planted so that finding it can be counted.",
    ),
)

MASKS = (
    Term(
        "secure aggregation",
        "Clients add masks to their updates that cancel in the sum, so that the server learns the "
        "sum and no single update. What the sum itself tells stays in the open.",
        "Bonawitz et al. 2017, eprint 2017/281",
    ),
    Term("mask", "Numbers that look random. Two clients share one; one adds it, one subtracts it."),
    Term(
        "threshold",
        "How many clients have to answer before the server can open a sum.",
        "Bonawitz et al. 2017, eprint 2017/281",
    ),
    Term(
        "neighbourhood",
        "The clients that one client chooses to hold shares of its secrets. It shares masks with "
        "them, and with those who chose it.",
        "Bell et al. 2020, eprint 2020/704",
    ),
    Term("dropout", "A client that was asked and whose update never arrives."),
)

LEAKS = (
    Term(
        "gradient inversion",
        "Rebuilding the examples behind an update, from the update and the model.",
        "Zhu et al. 2019, arXiv:1906.08935",
    ),
    Term(
        "membership inference",
        "Telling whether a given example was in the training data.",
        "Shokri et al. 2017, arXiv:1610.05820",
    ),
    Term(
        "property inference",
        "Telling from updates what a client's data are like, beyond what the task asks for.",
        "Melis et al. 2019, arXiv:1805.04049",
    ),
    Term("source inference", "Telling which client holds an example that somebody holds."),
    Term(
        "shadow model",
        "A model that the attacker trains itself, by the same recipe and with data that it knows, "
        "to learn what members and others look like.",
        "Shokri et al. 2017, arXiv:1610.05820",
    ),
    Term(
        "view",
        "What one party holds: the server its updates, an outsider the model. An attack of this "
        "lab is given a view and never the truth.",
    ),
    Term("honest but curious", "Follows the protocol, and reads all that comes its way."),
    Term("malicious", "Does not follow the protocol, or lies in it."),
    Term(
        "backdoor",
        "A hidden rule in the model: with a small sign in the picture it answers what the attacker "
        "wants, and otherwise behaves well.",
        "Bagdasaryan et al. 2020, arXiv:1807.00459",
    ),
    Term(
        "breakdown point",
        "The share of malicious clients from which on a rule can be driven anywhere.",
    ),
)

NUMBERS = (
    Term("accuracy", "The share of test examples that the model gets right. Chance: 1 in classes."),
    Term("loss", "Cross-entropy: how surprised the model is by the right answers. Less is better."),
    Term(
        "PSNR",
        "Peak signal-to-noise ratio of a rebuilt picture, in decibel: 20 is a blurred likeness, 30 "
        "is clear, and beyond 46 no pixel looks different.",
    ),
    Term(
        "SSIM",
        "Structural similarity of two pictures: 1 is the same, 0 is unrelated.",
        "Wang et al. 2004, IEEE Transactions on Image Processing 13(4)",
    ),
    Term(
        "identification",
        "Whether a rebuilt example is nearer to the private one than to any other that there is.",
    ),
    Term(
        "baseline",
        "What a guess reaches that saw neither update nor model. No score says a thing without it.",
    ),
    Term(
        "Pareto front",
        "Of several choices, those that no other beats in both things that count, such as accuracy "
        "and what leaks. Whoever is not on the front can have more of one and lose nothing.",
    ),
    Term(
        "ROC",
        "For every threshold, the share of members that are found against the share of others that "
        "are accused wrongly. On logarithmic axes its left end shows who is found with certainty.",
        "Carlini et al. 2022, arXiv:2112.03570, section 3",
    ),
    Term(
        "AUC",
        "The area under the ROC: the chance that a member scores above another. 0.5 is a coin.",
    ),
    Term(
        "TPR at 0.1 % FPR",
        "The share of members that are found when one in a thousand others is accused wrongly. It "
        "takes 10,000 others to say.",
        "Carlini et al. 2022, arXiv:2112.03570, section 3",
    ),
    Term(
        "confidence interval",
        "Where the true value lies in 95 of 100 repetitions. What lies within it is not a finding.",
    ),
)

TERMS: dict[str, tuple[Term, ...]] = {
    "The federation": FEDERATION,
    "Privacy": PRIVACY,
    "Secure aggregation": MASKS,
    "What leaks": LEAKS,
    "Numbers": NUMBERS,
}
