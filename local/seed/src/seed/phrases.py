"""What the invented customers write. ``{slots}`` are filled by `seed.tickets`."""

# A business each: what it sells, and what can be said about it.
BUSINESSES = (
    {
        "product": [
            "reporting suite",
            "time tracker",
            "expense app",
            "payroll module",
            "mobile app",
            "admin console",
            "API",
        ],
        "part": ["dashboard", "export", "login page", "search", "integration", "approval screen", "calendar view"],
        "process": ["onboarding", "migration", "licence renewal", "single sign-on setup", "data import", "audit"],
    },
    {
        "product": ["fibre line", "mobile plan", "router", "family bundle", "roaming pass", "TV box", "landline"],
        "part": ["wifi", "invoice", "SIM card", "voicemail", "data allowance", "remote control", "upload speed"],
        "process": [
            "installation",
            "number transfer",
            "contract renewal",
            "technician visit",
            "cancellation",
            "upgrade",
        ],
    },
    {
        "product": [
            "cordless drill",
            "angle grinder",
            "ladder",
            "toolbox",
            "paint sprayer",
            "workbench",
            "air compressor",
        ],
        "part": ["battery", "charger", "handle", "hose", "hinge", "motor", "blade guard"],
        "process": ["delivery", "return", "refund", "warranty claim", "click and collect order", "exchange"],
    },
)

CUSTOMERS = [
    "Amara Okafor", "Ben Whitlock", "Chiara Rossi", "Dmitri Volkov", "Elif Yildiz", "Farid Haddad", "Grace Lindqvist",
    "Hugo Fernandes", "Ines Moreau", "Jakub Nowak", "Kavya Raman", "Liam Doherty", "Mei Tanaka", "Nils Bergström",
    "Olivia Grant", "Pedro Álvarez", "Quinn Harper", "Rosa Jiménez", "Samir Patel", "Tereza Dvořáková", "Umar Farooq",
    "Vera Schmidt", "Wen Zhang", "Ximena Castro", "Yusuf Demir", "Zoë van Dijk",
]  # fmt: skip

GREETINGS = ["Hi,", "Hello,", "Hello team,", "Dear support,", "Good morning,", "Hey there,", "To whom it may concern,"]
CLOSINGS = ["Thanks", "Regards", "Best", "Kind regards", "Cheers", "Thank you in advance", "Sent from my phone"]

CONTEXT = [
    "I have been a customer for {years} years.",
    "We bought the {product} on {weekday}.",
    "My order number is {order}.",
    "This is about the {product} and its {part}.",
    "I spoke to {agent} on {weekday}.",
    "We use the {product} every day at work.",
    "The {process} was booked for {weekday}.",
    "I already looked at the help pages.",
    "Our office has {count} of these.",
    "Reference {order}, in case you need it.",
]

# Subjects that tell nothing.
PLAIN_SUBJECTS = [
    "{product}",
    "{process}",
    "Order {order}",
    "Feedback on the {process}",
    "Message for {agent}",
    "(no subject)",
]

SUBJECTS = {
    "positive": [
        "Great {process}", "Thank you for the help with the {part}", "Happy with the {product}", "Praise for {agent}",
        "{product}: all sorted now",
    ],
    "neutral": [
        "Question about the {part}", "How do I change the {process}?", "{product}: information needed",
        "Address change", "{process} date",
    ],
    "negative": [
        "{product} broken again", "Complaint about the {process}", "Still waiting for {process}",
        "{part} does not work", "Problem with {product}",
    ],
}  # fmt: skip

STATEMENTS = {
    "positive": [
        "The {process} went smoothly and faster than I expected.",
        "{agent} was patient and solved everything in {minutes} minutes.",
        "I am really happy with the {product}.",
        "The new {part} works perfectly.",
        "Brilliant service, I will recommend you to colleagues.",
        "The {product} is worth every cent.",
        "Everything arrived early and well packed.",
        "I was impressed by how easy the {process} was.",
        "The {part} is so much better than before, well done.",
        "What a pleasant surprise, the {product} exceeded my expectations.",
        "Your team fixed the {part} the same day, fantastic.",
        "No complaints at all, the {process} was quick and friendly.",
        "Not bad at all, the {product} does just what we hoped for.",
        "Please pass my compliments on to {agent}.",
    ],
    "neutral": [
        "Could you tell me when the {process} takes place?",
        "I would like to know how to change the {part}.",
        "Please update the address on my account.",
        "Is the {product} compatible with the older {part}?",
        "Where can I find the manual for the {product}?",
        "Can you send me a copy of the receipt for order {order}?",
        "What are the opening hours on {weekday}?",
        "We need {count} more, is there a price list?",
        "I want to move the {process} to {weekday}.",
        "Does the {product} come with a spare {part}?",
        "Please confirm that you received the form.",
        "How long does the {process} normally take?",
        "Which details do you need from me for the {process}?",
        "I have a question about the {part} of the {product}.",
    ],
    "negative": [
        "The {part} stopped working after {count} days.",
        "I have been waiting for the {process} for {weeks} weeks and nobody answers.",
        "This is the third time that the {product} fails.",
        "Very disappointed with the {process}.",
        "I was charged twice and nobody can explain it.",
        "The {product} arrived damaged and the box was open.",
        "Your hotline kept me on hold for {minutes} minutes, this is unacceptable.",
        "I want my money back.",
        "The {part} is useless and keeps breaking.",
        "{agent} was rude and hung up on me.",
        "The {process} was a complete mess, nothing was ready.",
        "So much for your fast {process}, it is late again.",
        "I am not happy with the {product}, it does not work as promised.",
        "If this is not solved by {weekday} I will cancel.",
    ],
}

# Said by the pleased and by the angry alike.
AMBIGUOUS = [
    "I did not expect that from the {product}.",
    "The {process} is something else.",
    "I will remember this when the contract ends.",
    "You should know how the {process} went.",
    "I told {agent} what I think of the {part}.",
    "That was quite an experience with the {product}.",
    "Please read this before you call it solved.",
]
